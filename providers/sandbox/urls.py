"""Mounted at /sandbox/; `address` is a provider's URL without its scheme."""

from django.urls import path

from providers.sandbox import views

urlpatterns = [
    path("<slug:slug>/consent", views.choose),
    path("<slug:slug>/<path:address>", views.simulate),
]
