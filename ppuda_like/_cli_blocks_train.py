"""The commands ``ppuda-like blocks search``, ``train`` and ``eval``: parse, call, print."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import tyro

from ppuda_like._cli_cutting import Cutting, Model, blocks_table, decoded_table, network, text_table
from ppuda_like._cli_options import Images
from ppuda_like._memory import keep_freed_memory
from ppuda_like._ranks import process_group, ranks
from ppuda_like._seeds import derived_seed
from ppuda_like.graph import Partition, trace
from ppuda_like.search.blocks import (
    AuxiliaryNet,
    BlockEvaluation,
    BlockSearchConfig,
    BlockTrainConfig,
    Synthesiser,
    auxiliaries_for,
    evaluate_blocks,
    load_blocks,
    save_blocks,
    search_blocks,
    split,
    synthesisers_for,
    train_blocks,
)
from ppuda_like.search.blocks._recipes import RecipeName
from ppuda_like.search.blocks._train_config import _UNUSED, Method
from ppuda_like.vision import NetTrainConfig, default_augmentation, save_weights

__all__ = ["Eval", "Search", "Train"]

_NOT_OPTIONS = ("training", "method", "per_block")
_HINTS = typing.get_type_hints(BlockTrainConfig)
_SEARCH_HINTS = typing.get_type_hints(BlockSearchConfig)
_TRAINING_HINTS = typing.get_type_hints(NetTrainConfig)

# The options of the recipe, of which only those that are given replace the recipe's: every value of the config, and of
# its training what the training of blocks knows.
BlockChanges = TypedDict(  # type: ignore[misc]  # the keys are not literal
    "BlockChanges",
    {known.name: _HINTS[known.name] for known in fields(BlockTrainConfig) if known.name not in _NOT_OPTIONS},
    total=False,
)
BlockChanges.__doc__ = BlockTrainConfig.__doc__
Changes = TypedDict(  # type: ignore[misc]
    "Changes",
    {
        known.name: _TRAINING_HINTS[known.name]
        for known in fields(NetTrainConfig)
        if known.name not in ("out", *_UNUSED)
    },
    total=False,
)
Changes.__doc__ = NetTrainConfig.__doc__
SearchChanges = TypedDict(  # type: ignore[misc]
    "SearchChanges",
    {known.name: _SEARCH_HINTS[known.name] for known in fields(BlockSearchConfig) if known.name != "out"},
    total=False,
)
SearchChanges.__doc__ = BlockSearchConfig.__doc__


@dataclass(frozen=True, kw_only=True)
class Search:
    """Search where to cut a network and which auxiliary network each block gets; a search that was stopped goes on."""

    model: Model
    """A torchvision name, package.module:factory, file.py:factory, or sedona:NAME for a network of SEDONA."""
    images: Annotated[Images, tyro.conf.arg(name="")]
    out: Path
    """Folder that the search writes to; result.npz there is for --cut and 'decode'."""
    feat_mult: int = 1
    """Width of a network of SEDONA: 1 as for CIFAR-10, 4 as for ImageNet."""
    num_images: int | None = None
    """Search on that many of the images, at random but the same each time; by default on all."""
    changes: Annotated[SearchChanges, tyro.conf.arg(name="")]

    def run(self) -> None:
        keep_freed_memory()
        changes: dict[str, Any] = {**self.changes}
        if "augment" not in changes:
            # Crops and flips are of CIFAR-10, where the defaults come from; digits must not be mirrored.
            changes["augment"] = default_augmentation(self.images.data, self.images.image_size)
        cutting = Cutting(feat_mult=self.feat_mult)
        changes = cutting.options(changes.get("candidates", ("light",))) | changes
        config = BlockSearchConfig(out=self.out, **changes)
        train = self.images.load("train", self.num_images)
        size, num_classes = self.images.image_size, len(train.class_names)
        model = network(self.model, num_classes, size, self.feat_mult, derived_seed(config.seed, "init"))
        result = search_blocks(model, config, train)
        if not result.finished:
            print(
                f"stopped after {result.iterations} of {config.iterations} updates; the same command goes on from there"
            )
            return
        skipped = f", {result.skipped} steps skipped" if result.skipped else ""
        print(f"{result.iterations} updates in {result.seconds:.1f} s{skipped}; wrote {self.out / 'result.npz'}")
        graph = trace(model.eval(), (1, 3, size, size))
        print(decoded_table(graph, self.out / "result.npz", None, cutting, num_classes))


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a network block by block; a run that was stopped goes on from its last checkpoint."""

    model: Model
    """A torchvision name, package.module:factory, file.py:factory, or sedona:NAME for a network of SEDONA."""
    images: Annotated[Images, tyro.conf.arg(name="")]
    cutting: Annotated[Cutting, tyro.conf.arg(name="")]
    out: Path
    """Folder that the run writes to."""
    method: Method | None = None
    """How blocks learn, backprop being end to end; by default what the recipe is meant for."""
    recipe: RecipeName = "sedona"
    """The recipe, where the options below do not say otherwise."""
    conditioned: bool = False
    """With the method dni, whether gradients are guessed from the labels too (cDNI)."""
    num_images: int | None = None
    """Train on that many of the images, at random but the same each time; by default on all."""
    block_changes: Annotated[BlockChanges, tyro.conf.arg(name="")]
    changes: Annotated[Changes, tyro.conf.arg(name="")]

    def run(self) -> None:
        keep_freed_memory()
        with process_group(str(self.changes.get("device", "cpu"))) as device:
            config = self._config()
            self._train(replace(config, training=replace(config.training, device=device)))

    def _train(self, config: BlockTrainConfig) -> None:
        training, first = config.training, ranks().first
        train, val = self.images.load("train", self.num_images), self.images.load("val")
        size, num_classes = self.images.image_size, len(train.class_names)
        seed = derived_seed(training.seed, "init")
        model = network(self.model, num_classes, size, self.cutting.feat_mult, seed).train()
        graph = trace(model, (2, 3, size, size))
        whole = Partition.at(graph, [])
        partition, names = self.cutting.partition(graph, num_classes) if config.method != "backprop" else (whole, ())
        options = self.cutting.options(names)
        blocks = split(model, partition)
        helpers: list[AuxiliaryNet] | list[Synthesiser]
        if config.method == "dni":
            helpers = synthesisers_for(blocks, num_classes, conditioned=self.conditioned, seed=training.seed)
            if first:
                print(f"{partition}, gradients guessed behind all but the last", flush=True)
        else:
            helpers = auxiliaries_for(blocks, names, num_classes, seed=training.seed, **options)
            if first:
                print(blocks_table(partition, names, num_classes, options), flush=True)
        result = train_blocks(blocks, helpers, config, train, val)
        if not first:
            return
        skipped = f", {sum(result.skipped)} skipped" if sum(result.skipped) else ""
        if not result.finished:
            print(f"stopped after {result.steps} steps{skipped}; the same command goes on from there")
            return
        auxiliaries = [helper for helper in helpers if isinstance(helper, AuxiliaryNet)]
        if config.method == "dni":  # which leaves no classifiers but the network's own
            blocks, names = split(model, whole), ()
        save_blocks(self.out, blocks, auxiliaries, names, num_classes, options)
        save_weights(model, self.out / "last.safetensors")
        print(f"{result.steps} steps in {result.seconds:.1f} s{skipped}; wrote the blocks to {self.out}")
        for index, one in enumerate(result.replay):
            print(
                f"buffer behind block {index}: {one.written} batches written, {one.lost} of them never read; "
                f"{one.read} reads, {one.reread} of a batch read before; mean age {one.mean_age:.1f} batches"
            )
        test = self.images.load("test")
        print(_accuracy(evaluate_blocks(blocks, auxiliaries, test, batch_size=training.val_batch_size)))

    def _config(self) -> BlockTrainConfig:
        changes: Mapping[str, Any] = self.changes
        recipe = BlockTrainConfig.recipe(self.recipe, self.out, method=self.method, **changes)
        config: BlockTrainConfig = replace(recipe, **self.block_changes)
        if "augment" in changes or config.training.augment != "crop":
            return config
        # Crops and flips are of CIFAR-10, where the recipes come from; digits must not be mirrored.
        augment = default_augmentation(self.images.data, self.images.image_size)
        return replace(config, training=replace(config.training, augment=augment))


@dataclass(frozen=True, kw_only=True)
class Eval:
    """Measure the classifiers of all blocks of a trained network, and their ensembles."""

    model: Model
    """The network, as it was given to 'train'."""
    run_: Annotated[Path, tyro.conf.arg(name="run")]
    """Folder of the training."""
    images: Annotated[Images, tyro.conf.arg(name="")]
    split: Literal["train", "val", "test"] = "test"
    """Which images."""
    feat_mult: int = 1
    """Width of a network of SEDONA, as it was given to 'train'."""
    batch_size: int = 64
    """Images at a time."""

    def run(self) -> None:
        data = self.images.load(self.split)
        model = network(self.model, len(data.class_names), self.images.image_size, self.feat_mult, 0)
        blocks, auxiliaries = load_blocks(model, self.run_)
        print(_accuracy(evaluate_blocks(blocks, auxiliaries, data, batch_size=self.batch_size)))


def _accuracy(found: BlockEvaluation) -> str:
    rows = [("block", "top-1", "loss", "ensemble of it and all behind", "weighted ensemble up to it")]
    for i, (top1, loss, last, weighted) in enumerate(
        zip(found.top1, found.loss, reversed(found.last), found.weighted, strict=True)
    ):
        rows.append((str(i), f"{100 * top1:.2f} %", f"{loss:.4f}", f"{100 * last:.2f} %", f"{100 * weighted:.2f} %"))
    return f"accuracy on {found.num_images} images:\n{text_table(rows)}"
