"""
The console's pages of the sections Accounts and Platform, and the login.

`base.py` has what all pages obey; `choice.py` in which of his accounts somebody works.
"""
