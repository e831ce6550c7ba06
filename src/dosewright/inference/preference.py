"""What a user asks of a net's sliders, before it is known which sliders the net has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dosewright.core import InputError
from dosewright.core.preference import NEUTRAL, PreferenceSpace
from dosewright.inference.weights import Model

Vector = tuple[float, ...]  # slider values in the order of a `PreferenceSpace`


@dataclass(frozen=True)
class Preference:
    """Slider values; 1 is neutral.

    Args:
        sparing: Factor on the mean dose of all organs at risk; below 1 spares more.
        homogeneity: Factor on the spread of the dose in the target; below 1 is more even.
        groups: Group of organs → its own factor, instead of `sparing`.

    >>> Preference(0.9, groups={"salivary": 0.8}).vector(PreferenceSpace("per_group"))
    (0.8, 0.9, 0.9, 0.9, 1.0)
    """

    sparing: float | int = NEUTRAL
    homogeneity: float | int = NEUTRAL
    groups: Mapping[str, float | int] = field(default_factory=dict)

    @classmethod
    def of(cls, space: PreferenceSpace, vector: Sequence[float]) -> "Preference":
        """Return the preference that `vector` gives back for this space.

        >>> Preference.of(PreferenceSpace("global"), (0.9, 1.1)).vector(PreferenceSpace("global"))
        (0.9, 1.1)
        """
        return cls(homogeneity=vector[-1], groups=dict(zip(space.sparing_names, vector[:-1], strict=True)))

    def vector(self, space: PreferenceSpace) -> Vector:
        """Return the value of each of the space's sliders.

        Raises:
            InputError: If a group is unknown or a value lies outside its slider.
        """
        everyone = dict.fromkeys(space.sparing_names, float(self.sparing))
        return space.vector(everyone | {name: float(value) for name, value in self.groups.items()}, self.homogeneity)


def space_of(model: Model) -> PreferenceSpace | None:
    """Return the sliders of a model's net, or None if it has none."""
    return getattr(model.net, "preference", None)


def vector_of(model: Model, preference: Preference | None) -> Vector | None:
    """Return the values that a preference gives the sliders of a model's net; None asks for nothing.

    Raises:
        InputError: If something is asked of a net without sliders, a group is unknown to it, or a value lies outside
            its slider; the message names the model's file.
    """
    if preference is None:
        return None
    space = space_of(model)
    if space is None:
        raise InputError(
            "must not be given: this net has no preference sliders",
            argument="preference",
            value=preference,
            path=model.path,
        )
    try:
        return preference.vector(space)
    except InputError as error:
        raise InputError.located(error, model.path) from error


def common_space(models: Sequence[Model]) -> PreferenceSpace:
    """Return the sliders that all models share.

    Raises:
        InputError: If a net has none, or others than the first.
    """
    spaces = [space_of(model) for model in models]
    for model, space in zip(models, spaces, strict=True):
        if space is None:
            raise InputError("must have preference sliders", argument="net", value=type(model.net), path=model.path)
        if space != spaces[0]:
            raise InputError(
                f"must be those of the other nets ({spaces[0]})", argument="sliders", value=space, path=model.path
            )
    if not spaces or spaces[0] is None:
        raise InputError("must hold at least one model", argument="models", value=models)
    return spaces[0]
