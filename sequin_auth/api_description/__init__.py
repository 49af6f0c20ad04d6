"""
What the product's HTTP interface is, as OpenAPI 3.1: docs/openapi.json, written by `manage.py openapi`.

* generator    asks drf-spectacular for what serializers and views say by themselves: paths, parameters, bodies
* operations   what it cannot see of /v1: words, answers, examples; a page for each resource
* operation    what such a page is made of
* refusals     what all of them may answer instead
* parameters   of a query
* link         the endpoints that are no views of Django REST framework
* schemas      the answers

Nothing that serves requests imports this: the web process hands out the file.
"""
