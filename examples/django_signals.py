"""Embed on upload from Django: the signals of a model of products, connected in an app's `ready()`.

    class ShopConfig(AppConfig):
        name = "shop"

        def ready(self) -> None:
            connect(self.get_model("Product"), Client())

The model has the fields `sku`, `title` and `photo` (a `FileField`).
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from django.db import models, transaction
from django.db.models.signals import post_delete, post_save

from sightline_client import Client, NewItem, NotFound, SightlineError

logger = logging.getLogger(__name__)


def connect(product: type[models.Model], sightline: Client) -> None:
    """Keep Sightline as the table is: after a transaction, so that nothing is told that is rolled back."""
    for signal, act in ((post_save, _store), (post_delete, _delete)):
        signal.connect(partial(_after_commit, act, sightline), sender=product, weak=False, dispatch_uid=__name__)


def _after_commit(act: Callable[[Client, Any], None], sightline: Client, instance: Any, **_: object) -> None:
    transaction.on_commit(partial(_logged, act, sightline, instance))


def _logged(act: Callable[[Client, Any], None], sightline: Client, product: Any) -> None:
    """A shop sells on without its search; a slow one should not be waited for: let a task queue call this."""
    try:
        act(sightline, product)
    except SightlineError:
        logger.exception("Sightline was not told of product %s", product.sku)


def _store(sightline: Client, product: Any) -> None:
    photo = None
    if product.photo:
        with product.photo.open("rb") as file:
            photo = file.read()
    sightline.put_item(NewItem(product.sku, image=photo, text=product.title))


def _delete(sightline: Client, product: Any) -> None:
    with suppress(NotFound):  # it was never stored, or is gone already
        sightline.delete_item(product.sku)
