"""Mounted at /providers/."""

from django.urls import path

from providers.showing import views

urlpatterns = [
    path("<slug:slug>/logo.svg", views.logo_svg, name="logo"),
]
