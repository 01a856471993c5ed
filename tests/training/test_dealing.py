"""Tiles dealt at every step: each once a round, from the step alone; attention, masks and crops
stay inside.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nano import recipe
from pictures import NANO
from PIL import Image as PillowImage

import optidel
from optidel.errors import RecipeError
from optidel.models.mae import build_mae, masked_loss
from optidel.models.shares import Share
from optidel.models.tiles import TiledMae, cell_side, coarse, shrink
from optidel.pipeline.pipeline import Pipeline
from optidel.recipe import make_recipe
from optidel.training import pretrain as module
from optidel.training.dealing import deal, whole_share
from optidel.training.objectives import OBJECTIVES
from optidel.training.options import PretrainOptions
from optidel.training.pretrain import _Order, pretrain


def images(count: int, side: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def tiled(tiles: int = 4) -> TiledMae:
    generator = torch.Generator().manual_seed(0)
    return TiledMae(build_mae(NANO, generator), tiles, generator).eval()


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(2, 60), batch=st.integers(1, 9), tiles=st.sampled_from([4, 9]), seed=st.integers(0, 9)
)
def test_every_tile_is_dealt_once_before_any_is_dealt_again(
    count: int, batch: int, tiles: int, seed: int
) -> None:
    hands = [deal(step, batch, count, tiles=tiles, whole=0, seed=seed) for step in range(8)]
    assert all(len(hand.tiles) == batch * tiles and not len(hand.whole) for hand in hands)
    counts = Counter(np.concatenate([hand.tiles for hand in hands]).tolist())
    assert max(counts.values()) - min(counts.get(tile, 0) for tile in range(count)) <= 1
    np.testing.assert_array_equal(
        hands[5].tiles, deal(5, batch, count, tiles=tiles, whole=0, seed=seed).tiles
    )


def test_company_changes_and_whole_images_take_their_share() -> None:
    first, later = (deal(step, 4, 16, tiles=4, whole=0, seed=0).tiles.reshape(4, 4) for step in (0, 1))
    assert {frozenset(row) for row in first.tolist()} != {frozenset(row) for row in later.tolist()}
    # 12 tiles make 3 images, 3 are whole: half of each.
    assert whole_share(8, 15, 4, 3) == 4
    assert whole_share(8, 1000, 4, 1) == 1
    assert whole_share(2, 15, 4, 14) == 1
    hand = deal(3, 8, 15, tiles=4, whole=3, seed=0)
    assert set(hand.tiles.tolist()) <= set(range(12))
    assert set(hand.whole.tolist()) <= {12, 13, 14}
    assert len(hand.tiles) + len(hand.single) == 4 * 4 + 4
    with pytest.raises(RecipeError, match="none is left to deal"):
        deal(0, 4, 3, tiles=4, whole=3, seed=0)


def test_tiles_alone_take_their_share_and_every_tile_is_alone_before_any_is_again() -> None:
    hands = [deal(step, 8, 15, tiles=4, whole=3, alone=0.5, seed=0) for step in range(6)]
    assert all((len(hand.tiles), len(hand.alone), len(hand.whole)) == (8, 2, 4) for hand in hands)
    counts = Counter(np.concatenate([hand.alone for hand in hands]).tolist())
    assert counts == dict.fromkeys(range(12), 1)
    without = deal(3, 8, 15, tiles=4, whole=3, seed=0)
    np.testing.assert_array_equal(hands[3].whole, without.whole)
    np.testing.assert_array_equal(hands[1].single, np.concatenate([hands[1].alone, hands[1].whole]))


def test_a_tile_alone_holds_no_more_than_in_a_grid() -> None:
    pictures = images(3, 16)
    seen = coarse(pictures, 2)
    # The same picture in the middle of its range, so that nothing is cut off.
    smooth = (np.indices((16, 16)).sum(axis=0) * 4 + 40).astype(np.uint8)[None, :, :, None].repeat(3, axis=-1)
    assert np.abs(coarse(smooth, 2)[:, 2:-2, 2:-2].astype(int) - smooth[:, 2:-2, 2:-2]).max() <= 1
    reference = [
        np.asarray(PillowImage.fromarray(picture).resize((8, 8), PillowImage.Resampling.BILINEAR))
        for picture in pictures
    ]
    again = [
        np.asarray(PillowImage.fromarray(picture).resize((8, 8), PillowImage.Resampling.BOX))
        for picture in seen
    ]
    assert np.abs(np.stack(again).astype(int) - np.stack(reference)).mean() < 8
    assert seen.std() < pictures.std() / 2


def test_what_is_alone_is_coarse_and_the_rest_as_it_is() -> None:
    pictures = images(15, 16)
    options = PretrainOptions(batch=8, tiles=4, whole=3, alone=0.5)
    order = _Order(options=options, training_set=np.arange(15), seed=0, frequencies=None)
    hand = deal(2, 8, 15, tiles=4, whole=3, alone=0.5, seed=0)
    every = []
    for start in (0, 4):
        share = Share(start=start, stop=start + 4, count=8, whole=order.single)
        every.append(order.coarsened(pictures[order.images(2, share)], share))
    first, second = every
    np.testing.assert_array_equal(
        first, np.concatenate([pictures[hand.tiles], coarse(pictures[hand.alone], 2)])
    )
    np.testing.assert_array_equal(second, pictures[hand.whole])


def test_only_patches_that_are_dealt_can_be_alone(tmp_path: Path) -> None:
    given = make_recipe(recipe(tmp_path, tmp_path, tmp_path / "run", optidel={"alone": 0.5}))
    with pytest.raises(RecipeError, match=r'optidel.alone = 0.5 .* set it to "deal"'):
        Pipeline(given)


def test_attention_within_tiles_is_that_of_a_composite_with_blocked_attention() -> None:
    """A tile as a sequence of its own equals the whole composite under a block-diagonal attention mask."""
    model = tiled()
    vit, count = model.mae.vit, 2
    cells = torch.randn(4 * count, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    noise = torch.arange(4).float().repeat(4 * count, 1)  # the first patch of each tile is visible
    with torch.no_grad():
        tokens, mask, _ = model.encode(cells, noise)
        assert mask.tolist() == [[0, 1, 1, 1]] * 8

        sequences = []
        for tile in range(4 * count):
            grid = vit.embeddings.position_embeddings[:, 1:].reshape(1, 4, 4, 32).permute(0, 3, 1, 2)
            own = torch.nn.functional.interpolate(grid, (2, 2), mode="bicubic").permute(0, 2, 3, 1)
            patch = vit.embeddings.patch_embeddings.projection(cells[tile : tile + 1])[0, :, 0, 0]
            visible = patch + own[0, 0, 0] + model.tile_embedding[tile % 4]
            cls = vit.embeddings.cls_token[0, 0] + vit.embeddings.position_embeddings[0, 0]
            sequences.append(torch.stack([cls, visible]))
        composites = torch.stack(sequences).reshape(count, 8, 32)
        blocks = torch.block_diag(*[torch.ones(2, 2)] * 4)
        barrier = torch.zeros(8, 8).masked_fill(blocks == 0, float("-inf"))[None, None]
        for layer in vit.layers:
            composites = layer(composites, barrier)
        expected = vit.layernorm(composites).reshape(4 * count, 2, 32)
    torch.testing.assert_close(tokens, expected, rtol=1e-4, atol=1e-5)


def test_a_single_tile_is_the_masked_autoencoder_itself() -> None:
    model = tiled(1)
    x = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    noise = torch.rand(3, 16, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        model.tile_embedding.zero_()
        torch.testing.assert_close(model.loss(x, noise), masked_loss(model.mae, x, noise))


def test_nothing_of_one_tile_reaches_another() -> None:
    model = tiled()
    cells = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    noise = torch.rand(8, 4, generator=torch.Generator().manual_seed(2))
    other = cells.clone()
    other[1] += 3
    with torch.no_grad():
        before, after = (model.decode(*model.encode(each, noise)[::2]) for each in (cells, other))
    changed = (before - after).abs().amax(dim=(1, 2)) > 1e-6
    assert changed.tolist() == [False, True] + 6 * [False]
    assert torch.isfinite(model.loss(cells, noise))


def test_tiles_are_shrunk_without_aliasing() -> None:
    stripes = torch.zeros(1, 3, 32, 32)
    stripes[..., ::2] = 1
    small = shrink(stripes, 16)
    assert (small[..., 2:-2] - 0.5).abs().max() < 0.1


@pytest.mark.parametrize(("size", "patch", "tiles"), [(64, 8, 16), (64, 8, 1), (224, 16, 1)])
def test_cells_hold_whole_patches(size: int, patch: int, tiles: int) -> None:
    assert cell_side(size, patch, tiles) ** 2 * tiles == size**2


@pytest.mark.parametrize(("size", "patch", "tiles"), [(64, 8, 9), (64, 8, 3), (224, 16, 16), (32, 8, 16)])
def test_cells_that_cut_patches_are_refused(size: int, patch: int, tiles: int) -> None:
    with pytest.raises(RecipeError, match="cannot be dealt"):
        cell_side(size, patch, tiles)


def test_it_learns_resumes_and_keeps_a_plain_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = PretrainOptions(steps=9, batch=4, tiles=4, whole=3, checkpoint_every=4, lr=3e-3)
    whole, log = pretrain(images(19), None, NANO, options, seed=1, checkpoint=tmp_path / "a.pt")
    assert type(whole).__name__ == "ViTMAEForPreTraining"
    assert log["loss"].is_finite().all()

    def dies(step: int, *rest: int, **options: int) -> object:
        if step == 6:
            raise KeyboardInterrupt
        return deal(step, *rest, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(module, "deal", dies)
        with pytest.raises(KeyboardInterrupt):
            pretrain(images(19), None, NANO, options, seed=1, checkpoint=tmp_path / "b.pt")
    resumed, again = pretrain(images(19), None, NANO, options, seed=1, checkpoint=tmp_path / "b.pt")
    assert log.equals(again)
    for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_objectives_that_know_no_tiles_refuse_them(tmp_path: Path) -> None:
    assert not OBJECTIVES["simclr"].deals
    options = PretrainOptions(objective="simclr", steps=1, batch=4, tiles=4)
    with pytest.raises(RecipeError, match="'simclr' cannot train on tiles that are dealt anew; use mae"):
        pretrain(images(8), None, NANO, options, seed=0, checkpoint=tmp_path / "c.pt")


def test_a_run_deals(nano: object, make_corpus: Callable[..., Path], labelled: Path, tmp_path: Path) -> None:
    method = next(name for name, entry in optidel.METHODS.items() if entry.unit == "key patch")
    values = recipe(make_corpus(24), labelled, tmp_path / "run", methods=[method], budget=0.2)
    section = {"grid": 4, "originals": 0.3}
    frozen = optidel.run(values | {"optidel": section})
    dealt = optidel.run(values | {"optidel": section | {"compose": "deal"}})
    assert frozen.table.columns == dealt.table.columns
    for name in ("n_images", "kept"):
        assert frozen.cells[name].to_list() == dealt.cells[name].to_list(), (
            "an image is as many tiles as before"
        )
    pools = [len(pl.read_parquet(path)) for path in tmp_path.glob("run/compose-*/composites.parquet")]
    assert len(pools) == 2
    assert max(pools) > min(pools), "the pool holds each patch once"
