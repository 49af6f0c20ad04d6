"""How the console writes dates: the same way everywhere, with the time zone named."""
