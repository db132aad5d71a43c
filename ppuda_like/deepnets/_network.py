"""Networks of DeepNets-1M."""

from __future__ import annotations

from torch import Tensor, nn

from ppuda_like.deepnets._cell import Cell
from ppuda_like.deepnets._config import NetworkConfig
from ppuda_like.deepnets._error import NetworkError
from ppuda_like.deepnets._genotype import DARTS, Genotype
from ppuda_like.deepnets._layers import Norm, PositionalEncoding, norm_layer
from ppuda_like.deepnets._plan import plan_network

__all__ = ["AuxiliaryHead", "Network"]


class AuxiliaryHead(nn.Module):
    """A small classifier on the features of a middle cell, for training only (DARTS, arXiv:1806.09055).

    Args:
        channels: channels of those features.
        num_classes: outputs.
        norm: as of the network.
    """

    def __init__(self, channels: int, num_classes: int, norm: Norm) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Conv2d(channels, 128, 1, bias=False),
            norm_layer(norm, 128),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            norm_layer(norm, 768),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(768, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(x).flatten(1))
        return logits


class Network(nn.Module):
    """A network of cells, in the space of DeepNets-1M (arXiv:2110.13100, appendix A).

    The arguments are those of :class:`NetworkConfig`, which says what each is.

    A random genotype may hold operations that the output does not depend on.  Their parameters are there and counted,
    as in DeepNets-1M, but the forward pass never touches them: they may stay on the meta device.

    Attributes:
        config: the arguments.
        input_shape: shape of a batch of one image: (1, 3, 32, 32) or (1, 3, 224, 224).
        drop_path_rate: probability of dropping an edge of a cell in training; may be changed as training goes on.

    Raises:
        NetworkError: if an argument is not valid, or no path leads from the input to the output.

    Example:
        >>> import torch
        >>> net = Network(C=8, num_classes=10, genotype=DARTS, n_cells=3)
        >>> net(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        *,
        C: int = 32,
        num_classes: int = 10,
        genotype: Genotype = DARTS,
        n_cells: int = 8,
        ks: int = 3,
        is_imagenet_input: bool = False,
        stem_pool: bool = False,
        stem_type: int = 0,
        norm: Norm = "bnorm",
        preproc: bool = True,
        C_mult: int = 2,
        fc_layers: int = 1,
        fc_dim: int = 256,
        glob_avg: bool = True,
        auxiliary: bool = False,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.config = NetworkConfig(
            C=C,
            num_classes=num_classes,
            genotype=genotype,
            n_cells=n_cells,
            ks=ks,
            is_imagenet_input=is_imagenet_input,
            stem_pool=stem_pool,
            stem_type=stem_type,
            norm=norm,
            preproc=preproc,
            C_mult=C_mult,
            fc_layers=fc_layers,
            fc_dim=fc_dim,
            glob_avg=glob_avg,
            auxiliary=auxiliary,
            drop_path=drop_path,
        )
        self.input_shape = self.config.input_shape
        self.drop_path_rate = drop_path
        plan = plan_network(self.config)
        if not plan.connected:
            raise NetworkError(
                f"no path leads from the input to the output of {n_cells} cells, 'none' is in the way; "
                f"change the genotype ({genotype})"
            )
        self._build_stem(plan.c_stem)
        self.cells = nn.ModuleList(Cell(genotype, cell, norm=norm, preproc=preproc) for cell in plan.cells)
        self.global_pooling = nn.AdaptiveAvgPool2d(1) if glob_avg else nn.Identity()
        self.classifier = _classifier(plan.features, fc_dim, fc_layers, num_classes)
        self._aux_cell = plan.aux_cell
        self._stem_read = plan.stem_read
        self.auxiliary_head = AuxiliaryHead(plan.cells[plan.aux_cell].c_out, num_classes, norm) if auxiliary else None

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Logits of shape (batch, num_classes); with an auxiliary head in training, those of both classifiers.

        Args:
            x: images of the shape (batch, 3, 32, 32) or (batch, 3, 224, 224).
        """
        first, second = self._stem_forward(x)
        aux_logits = None
        for index, cell in enumerate(self.cells):
            first, second = second, cell(first, second, self.drop_path_rate)
            if index == self._aux_cell and self.training and self.auxiliary_head is not None and second is not None:
                aux_logits = self.auxiliary_head(second)
        logits: Tensor = self.classifier(self.global_pooling(second).flatten(1))
        return logits if aux_logits is None else (logits, aux_logits)

    def _build_stem(self, c_stem: int) -> None:
        config = self.config
        large = config.is_imagenet_input
        if config.genotype.is_transformer:
            self.stem0: nn.Module = nn.Conv2d(
                3, c_stem, 16 if large else 3, stride=16 if large else 3, padding=0 if large else 1, bias=False
            )
            self.pos_enc = PositionalEncoding(c_stem, 14 if large else 11)
            return
        stem_type, ks, norm = config.stem_type, config.ks, config.norm
        if stem_type == 0:
            convolution = nn.Conv2d(3, c_stem, ks, stride=4 if large else 1, padding=ks // 2, bias=False)
            self.stem = nn.Sequential(convolution, norm_layer(norm, c_stem))
            if config.stem_pool:
                self.stem.append(nn.MaxPool2d(3, stride=2, padding=1))
            return
        stride, half = 2 if large else 1, c_stem // 2
        self.stem0 = nn.Sequential(
            nn.Conv2d(3, half, ks, stride=stride, padding=ks // 2, bias=False),
            norm_layer(norm, half),
            nn.ReLU(),
            nn.Conv2d(half, c_stem, 3, stride=stride, padding=1, bias=False),
            norm_layer(norm, c_stem),
        )
        self.stem1 = nn.Sequential(
            nn.ReLU(), nn.Conv2d(c_stem, c_stem, 3, stride=2, padding=1, bias=False), norm_layer(norm, c_stem)
        )

    def _stem_forward(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        if self.config.genotype.is_transformer:
            both = self.pos_enc(self.stem0(x))
            return both, both
        if self.config.stem_type == 0:
            both = self.stem(x)
            return both, both
        first = self.stem0(x)
        return first, self.stem1(first) if self._stem_read else None


def _classifier(features: int, fc_dim: int, fc_layers: int, num_classes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(fc_layers - 1):
        layers += [nn.Linear(features, fc_dim), nn.ReLU(), nn.Dropout(0.5)]
        features = fc_dim
    return nn.Sequential(*layers, nn.Linear(features, num_classes))
