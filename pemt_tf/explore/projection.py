"""Where clips lie on the map: two numbers each, by principal components or by UMAP."""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import dataclass

import numpy as np

from pemt_tf.errors import PemtError

PRINCIPAL, UMAP = "pca", "umap"
PROJECTIONS = (PRINCIPAL, UMAP)
UMAP_NEIGHBOURS = 15
FEWEST_FOR_UMAP = 5  # of fewer points its graph cannot be laid out
SMALLEST_SPREAD = 1e-6  # of embeddings that differ
SEED = 0


@dataclass(frozen=True, eq=False)
class Projection:
    """A map: positions [clips, 2] float32 from -1 to 1, up is positive, and a sentence about how it was made."""

    positions: np.ndarray
    about: str


def default_projection() -> str:
    """UMAP where it is installed."""
    return UMAP if importlib.util.find_spec("umap") else PRINCIPAL


def project(directions: np.ndarray, name: str) -> Projection:
    """Lays out embeddings [clips, width] of length 1, or zeros, on a plane; PemtError if UMAP is not installed."""
    if name == PRINCIPAL:
        return principal_plane(directions)
    try:
        import umap
    except ImportError as error:
        raise PemtError(
            f"--projection umap needs the package umap-learn ({error}); install it with "
            "`pip install 'pemt-tf[umap]'`, or use --projection pca"
        ) from None
    if len(directions) < FEWEST_FOR_UMAP:
        plane = principal_plane(directions)
        return Projection(plane.positions, f"{plane.about} (UMAP needs {FEWEST_FOR_UMAP} clips.)")
    neighbours = min(UMAP_NEIGHBOURS, len(directions) - 1)
    # A seed makes it run on one thread, of which it warns. Zeros have no cosine: Euclidean distance orders unit vectors
    # as the cosine does.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layout = umap.UMAP(n_components=2, n_neighbors=neighbours, random_state=SEED).fit_transform(directions)
    about = f"UMAP with {neighbours} neighbours: near clips are similar; distances between groups mean little."
    return Projection(fitted(np.nan_to_num(np.asarray(layout, np.float64))), about)


def principal_plane(directions: np.ndarray) -> Projection:
    """The two directions in which embeddings of length 1 differ most."""
    from sklearn.decomposition import PCA

    positions, share = np.zeros((len(directions), 2)), 0.0
    # Where all clips are the same, rounding would be drawn as a cloud.
    if len(directions) > 1 and np.ptp(directions, axis=0).max() > SMALLEST_SPREAD:
        pca = PCA(min(2, *directions.shape), svd_solver="full")
        found = pca.fit_transform(directions.astype(np.float64))
        positions[:, : found.shape[1]] = found
        share = float(pca.explained_variance_ratio_.sum())
    return Projection(fitted(positions), f"Principal components: this plane holds {100 * share:.0f} % of the variance.")


def fitted(positions: np.ndarray) -> np.ndarray:
    """Moves and scales points [clips, 2] so that the longer side reaches from -1 to 1; float32."""
    low, high = positions.min(axis=0), positions.max(axis=0)
    side = float((high - low).max()) / 2 or 1.0
    return ((positions - (low + high) / 2) / side).astype(np.float32)
