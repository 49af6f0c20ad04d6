"""Who looks at the console."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from oauth_apps.models import Account, Membership


@pytest.fixture
def superuser(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="x"))
    return client


@pytest.fixture
def paul(account: Account) -> User:
    """A member of the account."""
    user = User.objects.create_user("paul", password="of-paul", is_staff=True)
    Membership.objects.create(account=account, user=user)
    return user


@pytest.fixture
def member(paul: User) -> Client:
    client = Client()
    client.force_login(paul)
    return client
