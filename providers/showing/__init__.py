"""What people see of the catalogue: in the API, in a terminal, as pages and as pictures."""
