"""Embed on upload to S3: a handler of its event notifications, as AWS Lambda calls it.

pip install boto3 ./sightline_client; SIGHTLINE_URL and SIGHTLINE_API_KEY say where the server is. MinIO and others that
speak S3 send the same events to a webhook.
"""

from contextlib import suppress
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_plus

import boto3

from sightline_client import Client, NewItem, NotFound


def handler(event: dict[str, Any], context: object = None) -> None:
    """Store or delete an item per object; its key is its id.

    What raises is delivered again by Lambda, and may be: a picture that is stored twice is embedded once.
    """
    for record in event["Records"]:
        bucket, key = record["s3"]["bucket"]["name"], unquote_plus(record["s3"]["object"]["key"])
        if record["eventName"].startswith("ObjectRemoved:"):
            _delete(key)
        else:
            _store(bucket, key)


def _store(bucket: str, key: str) -> None:
    s3, sightline = _clients()
    try:
        picture = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except s3.exceptions.NoSuchKey:  # events come late, and in any order
        return _delete(key)
    sightline.put_item(NewItem(key, image=picture, metadata={"bucket": bucket}))


def _delete(key: str) -> None:
    _, sightline = _clients()
    with suppress(NotFound):
        sightline.delete_item(key)


@lru_cache
def _clients() -> tuple[Any, Client]:
    """Kept from call to call."""
    return boto3.client("s3"), Client()
