"""
Secrets at rest: model fields that hold ciphertext until their attribute is read.

A value is bound to "app_label.Model.column:pk": moved to another row, column or table it does not open. A model or
column that is renamed has to be sealed anew by its migration.
"""

from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, NoReturn, Self, TypeVar

from django.apps import apps
from django.core import checks
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.query_utils import DeferredAttribute
from django.views.decorators.debug import sensitive_variables
from django_cryptography.fields import EncryptedMixin

from . import redaction
from .key_ring import KEY_ID, KeyRing, Tampered, UnknownKey, Unreadable, digest, key_id_of, key_ring

__all__ = [
    "KeyIdOf",
    "KeyRing",
    "Sealed",
    "SealedBytesField",
    "SealedField",
    "SealedTextField",
    "Tampered",
    "UnknownKey",
    "Unreadable",
    "digest",
    "key_id_of",
    "key_ring",
    "keys_in_use",
    "keys_missing",
    "sealed_fields",
]

MASK: Final = "*" * 10


@dataclass(frozen=True, slots=True, repr=False)
class Sealed:
    """A stored value, closed. It may be shown, copied, pickled: it says nothing without the keys."""

    envelope: bytes

    def __repr__(self) -> str:
        return MASK

    @property
    def key_id(self) -> str | None:
        return key_id_of(self.envelope)


class Unsealed:
    """A value that was assigned and not saved yet: it is sealed when the row is, whose primary key it needs."""

    __slots__ = ("plaintext",)

    def __init__(self, plaintext: str | bytes) -> None:
        self.plaintext = plaintext

    def __repr__(self) -> str:
        return MASK

    def __reduce__(self) -> NoReturn:
        raise TypeError("an unsaved secret is not pickled")

    def __deepcopy__(self, memo: object) -> Self:
        return self


copying_closed: ContextVar[bool] = ContextVar("copying_closed", default=False)


class SealedAttribute(DeferredAttribute):
    """Opens on reading. What stays in the instance's `__dict__` is Sealed, Unsealed or None."""

    field: "SealedField[Any, Any]"

    @sensitive_variables()
    def __get__(self, instance: models.Model | None, owner: type[models.Model] | None = None) -> Any:
        if instance is None:
            return self
        closed = super().__get__(instance, owner)  # from `__dict__`; if it was deferred, from the database
        if closed is None or copying_closed.get():
            return closed
        if isinstance(closed, Unsealed):
            return closed.plaintext
        return self.field.open(closed, pk=instance.pk)

    @sensitive_variables()
    def __set__(self, instance: models.Model, value: Any) -> None:
        if not (value is None or isinstance(value, Sealed | Unsealed)):
            value = Unsealed(self.field.accepted(value))
            redaction.learn(value.plaintext)
        instance.__dict__[self.field.attname] = value


def keeping_closed(refresh_from_db: Callable[..., None]) -> Callable[..., None]:
    """Django refreshes by reading each attribute of a second instance; what is sealed must not be opened for that."""

    @wraps(refresh_from_db)
    def refresh_from_db_closed(*args: Any, **kwargs: Any) -> None:
        token = copying_closed.set(True)
        try:
            refresh_from_db(*args, **kwargs)
        finally:
            copying_closed.reset(token)

    return refresh_from_db_closed


SetType = TypeVar("SetType", contravariant=True)
GetType = TypeVar("GetType", covariant=True)

if TYPE_CHECKING:
    Shell = models.Field
else:

    class Shell(EncryptedMixin, Generic[SetType, GetType]):
        """django-stubs' two type variables, which the package does not know of."""


class SealedField(Shell[SetType, GetType]):
    """A column of envelopes. Of django_cryptography's shell the refused lookups serve; its cipher is passed by.

    Assign and `save()`. A queryset has no row to bind a value to: `update()` takes what `seal()` made, `bulk_update()`
    and expressions are a TypeError. Upsert (`bulk_create(update_conflicts=True)`) by the primary key alone: by any
    other, the value would be bound to a row that is not the one written. The one lookup is `isnull`.
    """

    descriptor_class = SealedAttribute
    description = "Sealed"
    empty_strings_allowed = False
    python_type: ClassVar[type[str] | type[bytes]]
    if TYPE_CHECKING:
        model: type[models.Model]
        attname: str
        column: str

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        models.Field.__init__(self, *args, **kwargs)  # the shell's own would derive a key for its cipher

    clone = models.Field.clone
    deconstruct = models.Field.deconstruct

    def contribute_to_class(self, cls: type[models.Model], name: str, private_only: bool = False) -> None:
        super().contribute_to_class(cls, name, private_only=private_only)
        cls.refresh_from_db = keeping_closed(cls.refresh_from_db)  # type: ignore[method-assign]

    @sensitive_variables()
    def accepted(self, value: Any) -> str | bytes:
        """Raises TypeError or ValueError; neither repeats the value."""
        if not isinstance(value, self.python_type):
            raise TypeError(f"{self} takes {self.python_type.__name__}, Sealed or None.")
        if value in {MASK, MASK + "*"}:
            raise ValueError(f"{self}: that is the mask of a secret, not a secret.")
        return value

    @sensitive_variables()
    def seal(self, value: str | bytes, *, pk: Any) -> Sealed:
        """Close `value` for the row `pk`, for `QuerySet.update()` or, as `.envelope`, for SQL."""
        redaction.learn(value)
        return Sealed(key_ring().seal(self._encoded(value), bound_to=self._place(pk)))

    @sensitive_variables()
    def open(self, sealed: Sealed, *, pk: Any) -> str | bytes:
        """Raises UnknownKey or Tampered, which name column and row."""
        try:
            value = self._decoded(key_ring().open(sealed.envelope, bound_to=self._place(pk)))
        except Unreadable as exc:
            raise type(exc)(f"{self} of row {pk} does not open: {exc}.") from None
        redaction.learn(value)
        return value

    def _encoded(self, value: str | bytes) -> bytes:
        raise NotImplementedError

    def _decoded(self, plaintext: bytes) -> str | bytes:
        raise NotImplementedError

    def _place(self, pk: Any) -> str:
        if pk is None:
            raise ValueError(f"{self} cannot be sealed before its row has a primary key.")
        meta = self.model._meta
        return f"{meta.label}.{self.column}:{meta.pk.to_python(pk)}"

    def pre_save(self, model_instance: models.Model, add: bool) -> Sealed | None:
        closed: Sealed | Unsealed | None = self.value_from_object(model_instance)
        if isinstance(closed, Unsealed):
            closed = self.seal(closed.plaintext, pk=model_instance.pk)
            setattr(model_instance, self.attname, closed)
        elif add and closed is not None:
            self.open(closed, pk=model_instance.pk)  # a copied instance would lose its secret without a word
        return closed

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        if value is None:
            return None
        if not isinstance(value, Sealed):
            raise TypeError(f"{self}: assign and save(), or update() with what the field's seal(value, pk=…) made.")
        return connection.Database.Binary(value.envelope)

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        return self.get_db_prep_value(value, connection)

    def from_db_value(self, value: Any, *_: Any) -> Sealed | None:
        return None if value is None else Sealed(bytes(value))

    def value_from_object(self, obj: models.Model) -> Any:
        """Closed, for `model_to_dict()`, serializers and forms."""
        token = copying_closed.set(True)
        try:
            return getattr(obj, self.attname)
        finally:
            copying_closed.reset(token)

    def value_to_string(self, obj: models.Model) -> str:
        closed = self.value_from_object(obj)
        return b64encode(closed.envelope).decode() if isinstance(closed, Sealed) else MASK

    def to_python(self, value: Any) -> Any:
        """What a fixture holds is bound to a row that may be another one by now."""
        if value is None or isinstance(value, Sealed | Unsealed):
            return value
        raise ValidationError("A sealed value is restored with its database, not from a fixture.")

    @sensitive_variables()
    def clean(self, value: Any, model_instance: models.Model | None) -> Any:
        self.validate(value, model_instance)
        self.run_validators(value)
        return value if model_instance is None else self.value_from_object(model_instance)

    def formfield(self, **kwargs: Any) -> None:
        """None: a form that takes a secret declares a field of its own, which shows nothing."""

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        messages = list(super().check(**kwargs))
        if isinstance(self.model._meta.pk, models.AutoField):
            rule = "A sealed field needs a primary key that the application makes, before the row is inserted."
            messages.append(checks.Error(rule, obj=self, id="sequin_auth.E001"))
        if self.unique or self.has_default():
            rule = "A sealed field is not unique, since equal values differ once sealed, and has no default."
            messages.append(checks.Error(rule, obj=self, id="sequin_auth.E002"))
        return messages


class SealedTextField(SealedField[SetType, GetType]):
    python_type = str
    if TYPE_CHECKING:
        _pyi_private_set_type: str | Sealed
        _pyi_private_get_type: str

    @sensitive_variables()
    def _encoded(self, value: str | bytes) -> bytes:
        try:
            return str(self.accepted(value)).encode()
        except UnicodeEncodeError:  # it would carry the value
            raise ValueError(f"{self}: the text holds half a surrogate pair.") from None

    @sensitive_variables()
    def _decoded(self, plaintext: bytes) -> str:
        try:
            return plaintext.decode()
        except UnicodeDecodeError:
            raise Tampered("it is not text") from None


class SealedBytesField(SealedField[SetType, GetType]):
    python_type = bytes
    if TYPE_CHECKING:
        _pyi_private_set_type: bytes | Sealed
        _pyi_private_get_type: bytes

    def _encoded(self, value: str | bytes) -> bytes:
        return bytes(self.accepted(value))  # type: ignore[arg-type]

    def _decoded(self, plaintext: bytes) -> bytes:
        return plaintext


class KeyIdOf(models.Func):
    """`key_id_of` in SQL, as bytes; empty, or no key id, where there is no envelope."""

    template = (
        "CASE WHEN octet_length(%(expressions)s) < 2 THEN ''::bytea"
        " WHEN get_byte(%(expressions)s, 0) <> 1 THEN ''::bytea"
        " WHEN octet_length(%(expressions)s) < 30 + get_byte(%(expressions)s, 1) THEN ''::bytea"
        " ELSE substring(%(expressions)s FROM 3 FOR get_byte(%(expressions)s, 1)) END"
    )
    output_field = models.BinaryField()
    arity = 1


def sealed_fields() -> Iterator[SealedField[Any, Any]]:
    """Every sealed field of every installed model, each by the model whose table holds it."""
    for model in apps.get_models(include_auto_created=True):
        for field in model._meta.local_concrete_fields:
            if isinstance(field, SealedField):
                yield field


def keys_missing(field: SealedField[Any, Any]) -> set[str]:
    """The ids of keys that have sealed values of the field and are not in the key ring.

    Asked by ranges, before, between and behind the ids that are known: so a BRIN index on KeyIdOf, which keeps the
    first and the last id of each stretch of the table in a few pages, answers without a look at the rows.
    """
    known = sorted(key_id.encode("ascii") for key_id in key_ring().key_ids)
    unknown = models.Q(sealed_by__lt=known[0]) | models.Q(sealed_by__gt=known[-1])
    for before, behind in pairwise(known):
        unknown |= models.Q(sealed_by__gt=before, sealed_by__lt=behind)
    sealed = field.model._base_manager.annotate(sealed_by=KeyIdOf(field.name)).filter(unknown)
    found = sealed.order_by().values_list("sealed_by", flat=True).distinct()
    key_ids = {bytes(sealed_by).decode("ascii", errors="replace") for sealed_by in found}
    return {key_id for key_id in key_ids if KEY_ID.fullmatch(key_id)}


def keys_in_use(field: SealedField[Any, Any]) -> Counter[str | None]:
    """How many of the field's values each key has sealed; None stands for what is no envelope."""
    stored = field.model._base_manager.filter(**{f"{field.name}__isnull": False})
    counted = stored.annotate(sealed_by=KeyIdOf(field.name)).values_list("sealed_by").annotate(models.Count("pk"))
    used: Counter[str | None] = Counter()
    for sealed_by, count in counted.order_by():
        key_id = bytes(sealed_by).decode("ascii", errors="replace")
        used[key_id if KEY_ID.fullmatch(key_id) else None] += count
    return used
