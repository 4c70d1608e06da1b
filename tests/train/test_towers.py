"""The towers that are exported against OpenCLIP's own, in torch."""

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="towers need the train extra")
from open_clip.model import CLIP, CustomTextCLIP

from models.preprocessing import Preprocessing
from models.towers import CausalTextTower, ImageTower, PatchImageTower, TextTower, image_tower, text_tower

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("default")]

START, END, CONTEXT = 98, 99, 12
PREPROCESSING = Preprocessing(
    size=(32, 48), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4), interpolation="bicubic", resize_mode="shortest"
)
VISION = {"image_size": (32, 48), "layers": 3, "width": 32, "patch_size": 8, "head_width": 16}
TEXT = {"context_length": CONTEXT, "vocab_size": 100, "width": 24, "heads": 3, "layers": 3}


def model(
    *, vision: dict[str, Any] | None = None, text: dict[str, Any] | None = None, kind: type = CLIP, **all_: Any
) -> torch.nn.Module:
    torch.manual_seed(1)
    made = kind(16, VISION | (vision or {}), TEXT | (text or {}), **all_).eval()
    for parameter in made.parameters():  # what starts as zeros and ones would hide mistakes
        parameter.data += 0.1 * torch.randn_like(parameter)
    return made


def ids() -> torch.Tensor:
    """Texts of 0 to 10 tokens between the start and the end, padded with zeros."""
    torch.manual_seed(2)
    made = torch.zeros(11, CONTEXT, dtype=torch.long)
    for length, row in enumerate(made):
        row[0], row[1 : 1 + length], row[1 + length] = START, torch.randint(1, START, (length,)), END
    return made


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"quick_gelu": True},
        {"vision": {"ls_init_value": 0.1, "no_ln_pre": True}, "text": {"ls_init_value": 0.1}},
        {"vision": {"layers": 1, "final_ln_after_pool": True}, "text": {"layers": 1}},
        {"kind": CustomTextCLIP, "text": {"pool_type": "eos", "eos_id": END, "proj_bias": True}},
        {"kind": CustomTextCLIP, "text": {"proj_type": "none", "width": 16, "heads": 2}},
    ],
)
def test_towers_give_what_openclip_gives(settings: dict[str, Any]) -> None:
    made = model(**settings)
    pixels = torch.randint(0, 256, (5, *PREPROCESSING.size, 3), dtype=torch.uint8)
    of_images, (of_texts, trimmed) = image_tower(made, PREPROCESSING), text_tower(made, ids())
    assert (type(of_images), type(of_texts), trimmed) == (PatchImageTower, CausalTextTower, True)
    with torch.inference_mode():
        assert torch.allclose(of_images(pixels), ImageTower(made, PREPROCESSING)(pixels), atol=2e-6)
        assert torch.allclose(of_texts(ids()), TextTower(made)(ids()), atol=2e-6)
        assert torch.allclose(of_texts(ids()[:3, :4]), TextTower(made)(ids()[:3]), atol=2e-6)


@pytest.mark.parametrize(
    "vision",
    [
        {"pool_type": "avg"},
        {"attentional_pool": True},
        {"qk_norm": True},
        {"layers": (1, 1, 1, 1), "image_size": 32},
        {"image_size": 37},
    ],
)
def test_other_towers_of_pictures_are_exported_as_they_are(vision: dict[str, Any]) -> None:
    assert type(image_tower(model(vision=vision), PREPROCESSING)) is ImageTower


@pytest.mark.parametrize(
    "text", [{"no_causal_mask": True}, {"embed_cls": True}, {"pool_type": "last"}, {"qk_norm": True}]
)
def test_other_towers_of_texts_are_exported_as_they_are(text: dict[str, Any]) -> None:
    tower, trimmed = text_tower(model(kind=CustomTextCLIP, text=text), ids())
    assert (type(tower), trimmed) == (TextTower, False)


def test_texts_that_do_not_begin_alike_are_trimmed_too() -> None:
    made, begun = model(), ids()
    begun[3, 0] = START - 1
    tower, trimmed = text_tower(made, begun)
    assert trimmed
    with torch.inference_mode():
        assert torch.allclose(tower(begun), TextTower(made)(begun), atol=2e-6)
        assert torch.allclose(tower(begun[:2, :3]), TextTower(made)(begun[:2]), atol=2e-6)
