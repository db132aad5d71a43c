"""Graph hypernetworks: from the graphs of networks to their parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn

from ppuda_like.errors import PredictionError
from ppuda_like.ghn._batch import GraphBatch
from ppuda_like.ghn._checkpoint import read_ppuda, read_pretrained, write_pretrained
from ppuda_like.ghn._config import GHNConfig
from ppuda_like.ghn._decode import Heads, decode
from ppuda_like.ghn._decoders import ConvDecoder, Decoder, MLPDecoder
from ppuda_like.ghn._fill import fill_model
from ppuda_like.ghn._gatedgnn import GatedGNN
from ppuda_like.ghn._graphormer import Graphormer
from ppuda_like.ghn._init import graphormer_init
from ppuda_like.ghn._layers import MLP
from ppuda_like.ghn._parts import Parts
from ppuda_like.ghn._report import PredictionReport
from ppuda_like.ghn._shape_encoder import ShapeEncoder
from ppuda_like.ghn._targets import Target
from ppuda_like.ghn._tiling import tile_all
from ppuda_like.graph import PPUDA, ComputationalGraph

__all__ = ["GHN"]

Graphs = ComputationalGraph | Sequence[ComputationalGraph] | GraphBatch


class GHN(nn.Module):
    """A network that reads computational graphs and predicts the parameters of the networks they are of.

    GHN-1 (Zhang et al., arXiv:1810.05749), GHN-2 (Knyazev et al., arXiv:2110.13100), GHN-3 (Knyazev et al.,
    arXiv:2303.04143), and the baseline without edges.  Node features are embeddings of primitives and shapes, updated
    by a :class:`GatedGNN` or a :class:`Graphormer`; decoders turn those of each node that holds a parameter into a
    block of weights, repeated over tensors that are larger.

    Args:
        config: the architecture; names of parameters are those of the released checkpoints.

    Example:
        >>> from torch import nn
        >>> ghn = GHN(GHNConfig.ghn2(num_classes=10, hid=8))
        >>> model = nn.Sequential(nn.Conv2d(3, 20, 5), nn.ReLU(), nn.Flatten(), nn.Linear(20 * 28 * 28, 10))
        >>> report = ghn.fill(model, input_shape=(1, 3, 32, 32))
        >>> report.num_predicted
        4
    """

    def __init__(self, config: GHNConfig) -> None:
        super().__init__()
        self.config = config
        hid, longest = config.hid, max(config.max_shape[:2])
        if config.layernorm:
            self.ln = nn.LayerNorm(hid)
        self.op_embedding = nn.Embedding(len(PPUDA), hid)
        self.shape_enc = ShapeEncoder(hid, num_classes=config.num_classes, max_kernel=config.max_shape[3])
        self.gnn: GatedGNN | Graphormer | MLP
        if config.hypernet == "gatedgnn":
            self.gnn = GatedGNN(hid, virtual_edges=config.ve)
        elif config.hypernet == "graphormer":
            self.gnn = Graphormer(hid, layers=config.layers, heads=config.heads)
        else:
            self.gnn = MLP(hid, (hid, hid), last_relu=True)
        decoder: type[ConvDecoder] | type[MLPDecoder] = ConvDecoder if config.decoder == "conv" else MLPDecoder
        self.decoder: Decoder = decoder(hid, config.max_shape, config.num_classes, centered=config.centered)
        self.decoder_1d = MLP(hid, (2 * hid, 2 * longest), last_relu=False)
        self.bias_class = nn.Sequential(nn.ReLU(), nn.Linear(longest, config.num_classes))
        if config.hypernet == "graphormer":
            graphormer_init(self)
        # Released checkpoints call the table 'embed', which is a method here.
        self.register_state_dict_post_hook(_name_as_released)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_name_as_here)  # type: ignore[no-untyped-call]

    # ------------------------------------------------------------------------------------------- prediction

    def prepare(self, graphs: Graphs, *, predict_class_layers: bool = True) -> GraphBatch:
        """What :meth:`predict` works out of graphs before it looks at any weight; pass it on to predict them often.

        Args:
            graphs: one graph or several, full traces or lowered ones; a prepared batch is returned as it is.
            predict_class_layers: whether the last layers are predicted as well.

        Raises:
            PredictionError: if there is no graph, one is in another vocabulary, or a class layer has another number of
                outputs than this GHN predicts.
        """
        if isinstance(graphs, GraphBatch):
            if graphs.config != self.config:
                raise PredictionError(
                    f"the batch was prepared for another GHN ({graphs.config}); this one is {self.config}; "
                    "prepare it again"
                )
            return graphs
        if isinstance(graphs, ComputationalGraph):
            graphs = [graphs]
        return GraphBatch.build(graphs, self.config, self.shape_enc, predict_class_layers=predict_class_layers)

    def node_embeddings(self, graphs: Graphs) -> list[Tensor]:
        """Features of the nodes that the decoders read, ``(num_nodes, hid)`` for each graph."""
        batch = self.prepare(graphs)
        return list(self._embed_nodes(batch).split_with_sizes(list(batch.num_nodes)))

    def embed(self, graphs: Graphs) -> Tensor:
        """Mean node features of each graph, ``(num_graphs, hid)``.

        Unless a prepared batch says otherwise, a class layer reads as one of this GHN's own number of classes.

        Raises:
            PredictionError: if there is no graph, or one is in another vocabulary.
        """
        if not isinstance(graphs, GraphBatch):
            graphs = [graphs] if isinstance(graphs, ComputationalGraph) else graphs
            graphs = GraphBatch.build(
                graphs, self.config, self.shape_enc, predict_class_layers=False, with_targets=False
            )
        return torch.stack([nodes.mean(0) for nodes in self.node_embeddings(graphs)])

    def predict(self, graphs: Graphs, *, predict_class_layers: bool = True) -> list[dict[str, Tensor]]:
        """Parameters of each network, by name; pure, and differentiable with respect to the GHN's weights.

        Graphs of a batch are worked on together; the result is that of one by one.

        Args:
            graphs: one graph or several, full traces or lowered ones, or what :meth:`prepare` made of them.
            predict_class_layers: whether the last layers are predicted as well; a prepared batch says so itself.

        Raises:
            PredictionError: see :meth:`prepare`.
        """
        batch = self.prepare(graphs, predict_class_layers=predict_class_layers)
        found: dict[tuple[int, str], Tensor] = {}
        for group, tiles in self.tiles(batch):
            tensors = tile_all(tiles, [target.shape for _, target in group])
            for (number, target), tensor in zip(group, tensors, strict=True):
                found[number, target.name] = tensor
        return [
            {target.name: found[number, target.name] for target in targets}
            for number, targets in enumerate(batch.targets)
        ]

    def tiles(self, batch: GraphBatch) -> Iterator[tuple[list[tuple[int, Target]], Tensor]]:
        """Groups of tensors with the blocks to lay out over them, normalised already."""
        nodes = self._embed_nodes(batch)
        heads = Heads(self.decoder, self.decoder_1d, self.bias_class, Parts())
        for key, group in batch.groups.items():
            rows = torch.tensor([target.node for _, target in group], device=nodes.device)
            tiles = decode(heads, nodes.index_select(0, rows), key, normalise=self.config.weight_norm)
            if self.config.weight_norm and any(target.scale != 1.0 for _, target in group):
                scale = tiles.new_tensor([target.scale for _, target in group])
                tiles = tiles * scale.view(-1, *(1,) * (tiles.dim() - 1))
            yield group, tiles

    def _embed_nodes(self, batch: GraphBatch) -> Tensor:
        device = self.op_embedding.weight.device
        x = self.op_embedding(batch.op_index.to(device)) + self.shape_enc(batch.shape_index.to(device))
        edges = batch.pairs if batch.schedule is None else batch.schedule
        x = self.gnn(x) if edges is None else self.gnn(x, edges)
        found: Tensor = self.ln(x) if self.config.layernorm else x
        return found.to(self.op_embedding.weight.dtype)  # autocast may have made it another

    # ------------------------------------------------------------------------------------------------ models

    def fill(
        self,
        model: nn.Module,
        *,
        graph: ComputationalGraph | None = None,
        input_shape: Sequence[int] | None = None,
        inputs: Any = None,
        predict_class_layers: bool = True,
        bn_train: bool = True,
    ) -> PredictionReport:
        """Write predicted parameters into a model; all of them, or on any error none.

        Parameters keep their identity, dtype, device and ``requires_grad``.  Parameters on the meta device are replaced
        by new ones on this GHN's device; every parameter and buffer of such a model must get a value.

        Args:
            model: the network to fill, in place.
            graph: its graph, full or lowered; by default the model is traced.
            input_shape: shape of the input to trace with, batch included.
            inputs: example inputs to trace with instead.
            predict_class_layers: whether the last layer is filled as well.
            bn_train: put batch normalisation in training mode, where it uses the statistics of the batch: its running
                statistics are not predicted.

        Returns:
            What was predicted, how, and what was kept and why.

        Raises:
            PredictionError: if the class layer has another number of outputs, the graph is not that of the model, a
                prediction is not finite, or a parameter on the meta device would get no value.
            TraceError: if the model cannot be traced.
        """
        return fill_model(
            self,
            model,
            graph=graph,
            input_shape=input_shape,
            inputs=inputs,
            predict_class_layers=predict_class_layers,
            bn_train=bn_train,
        )

    def forward(self, model: nn.Module, **options: Any) -> nn.Module:
        """The model, filled in place; options as of :meth:`fill`."""
        self.fill(model, **options)
        return model

    # ------------------------------------------------------------------------------------------- checkpoints

    @classmethod
    def from_ppuda(cls, path: str | PathLike[str], *, num_classes: int | None = None) -> GHN:
        """The GHN of a checkpoint in the format of the PPUDA release; the file cannot run code.

        Args:
            path: a ``.pt`` file.
            num_classes: number of classes it must be for.

        Raises:
            CheckpointError: if the file is missing, broken, no such checkpoint, for another number of classes, or holds
                values that are not finite.
        """
        return cls._from_parts(*read_ppuda(path, num_classes=num_classes))

    @classmethod
    def from_pretrained(
        cls, path_or_name: str | PathLike[str], *, num_classes: int | None = None, dtype: torch.dtype | None = None
    ) -> GHN:
        """The GHN that :meth:`save_pretrained` wrote, or the bundled one of that name.

        Args:
            path_or_name: a ``.safetensors`` file, or one of :func:`list_pretrained`.
            num_classes: number of classes it must be for.
            dtype: dtype of its parameters; by default as stored, 16-bit ones widened to float32.

        Raises:
            CheckpointError: as of :meth:`from_ppuda`, or if no bundled checkpoint has that name.
        """
        return cls._from_parts(*read_pretrained(path_or_name, num_classes=num_classes, dtype=dtype))

    def save_pretrained(self, path: str | PathLike[str], *, dtype: torch.dtype | None = None) -> None:
        """Write the configuration and the parameters as safetensors; the file appears complete or not at all.

        Args:
            path: file to write, or to replace.
            dtype: dtype to store, by default that of the parameters.
        """
        write_pretrained(path, self.config, self.state_dict(), dtype=dtype)

    @classmethod
    def _from_parts(cls, config: GHNConfig, state: Mapping[str, Tensor]) -> GHN:
        with torch.device("meta"):
            ghn = cls(config)
        ghn.load_state_dict(state, strict=True, assign=True)
        return ghn


def _name_as_released(ghn: nn.Module, state: dict[str, Any], prefix: str, metadata: dict[str, Any]) -> None:
    key = prefix + "op_embedding.weight"
    # In the place it had, so that the order of names stays that of the modules.
    items = [(prefix + "embed.weight" if name == key else name, value) for name, value in state.items()]
    state.clear()
    state.update(items)


def _name_as_here(ghn: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
    if prefix + "embed.weight" in state:
        state[prefix + "op_embedding.weight"] = state.pop(prefix + "embed.weight")
