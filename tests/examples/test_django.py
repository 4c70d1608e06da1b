"""The example for Django, in an app of one model."""

from collections.abc import Iterator
from typing import Any

import django
import pytest
from django.conf import settings as django_settings
from django.core.files.base import ContentFile
from django.db import connection, models, transaction
from django.db.models.signals import post_delete, post_save

from examples import django_signals
from examples.django_signals import connect
from sightline_client import Client
from tests.pictures import picture


@pytest.fixture(scope="module", autouse=True)
def _beside_a_browser() -> Iterator[None]:
    """Playwright, where it tested the page in this process before, has left an event loop in its thread."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        yield


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> type[models.Model]:
    """The model of an app, whose table is in memory."""
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    folder = tmp_path_factory.mktemp("media")
    django_settings.configure(DATABASES={"default": database}, MEDIA_ROOT=str(folder), USE_TZ=True)
    django.setup()

    class Product(models.Model):
        sku = models.CharField(max_length=40, unique=True)
        title = models.CharField(max_length=200)
        photo = models.FileField(upload_to="photos", blank=True)

        class Meta:
            app_label = "shop"

    with connection.schema_editor() as schema:
        schema.create_model(Product)
    return Product


@pytest.fixture
def connected(product: Any, sightline: Client) -> Iterator[Any]:
    connect(product, sightline)
    yield product
    for signal in (post_save, post_delete):
        assert signal.disconnect(sender=product, dispatch_uid=django_signals.__name__)
    product.objects.all().delete()


def stored(sightline: Client) -> dict[str, str | None]:
    return {item.id: item.text for item in sightline.items()}


def test_what_is_saved_is_found_and_what_is_deleted_is_not(connected: Any, sightline: Client) -> None:
    red = connected(sku="1042", title="red dress")
    red.photo.save("red.png", ContentFile(picture("red")))
    assert stored(sightline) == {"1042": "red dress"}
    assert sightline.image("1042") == picture("red")

    red.title = "red summer dress"
    red.save()
    assert stored(sightline) == {"1042": "red summer dress"}

    red.delete()
    assert stored(sightline) == {}


def test_what_is_rolled_back_is_not_told(connected: Any, sightline: Client) -> None:
    with transaction.atomic():
        connected(sku="1042", title="red dress").save()
        transaction.set_rollback(True)
    assert stored(sightline) == {}


def test_a_shop_goes_on_without_its_search(connected: Any, sightline: Client, caplog: pytest.LogCaptureFixture) -> None:
    connected(sku="1042", title=" ").save()  # an item needs a text or a picture
    assert connected.objects.count() == 1
    assert "Sightline was not told of product 1042" in caplog.text
