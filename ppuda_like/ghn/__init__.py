from ppuda_like.ghn._gatedgnn import GatedGNN as GatedGNN
from ppuda_like.ghn._schedule import GraphEdges as GraphEdges
from ppuda_like.ghn._schedule import VisitSchedule as VisitSchedule
