"""Arguments and results as JSON, held to their annotations on both sides of the wire.

Promises
    - What is stored can be read back: every payload was validated against the same annotations, as JSON,
      before it was stored.
    - Strict: ``"3"`` is no int, a model that was changed after its construction is checked again, NaN and
      infinities are refused, bytes travel as base64, a ``SecretStr`` travels with its value.
    - Omitted defaults are not stored: the worker's own apply, so a deploy can change them.

Why the schema is rewritten: pydantic takes the treatment of bytes, NaN and instances from each *nested*
model's own configuration. One payload must have one treatment, so the rules are written into a copy of the
schema (the user's classes stay as they are).
"""

from dispatch_celery.codec.payload import Codec
from dispatch_celery.codec.signature import Signature

__all__ = ["Codec", "Signature"]
