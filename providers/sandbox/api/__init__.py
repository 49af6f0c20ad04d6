"""
A simulated provider's API: its collections, with data that move, listed as its documentation says.

* vocabulary   what a catalogue file may say of lists: `[sandbox.collections]`, `[sandbox.lists]`, `[sandbox.feed]`
* problems     what is wrong with what it says
* answer       a request's way to its page, from the access token on: begin here
* asking       what the request asks for: which records, in which order, from where on
* graphql      the same, of one that says it in a query of that language
* moving       the data, a pure function of size and clock: which records there are, when each was made and changed
* records      what one of them says, by the template of the file
* feed         what has happened to them, as a list of its own

What no file can say of a provider is a function in `providers.sandbox.quirks`.
"""
