"""Convolutional layers by spatial frequency: SVCCA of two arrays of maps, and how far maps are from its assumption."""

from svcca.fourier.cca import Filters, FourierCCAResult, fourier_cca
from svcca.fourier.covariances import ChannelCovariances, channel_covariances
from svcca.fourier.frequencies import Resize
from svcca.fourier.translation import TranslationGap, translation_gap

__all__ = [
    "ChannelCovariances",
    "Filters",
    "FourierCCAResult",
    "Resize",
    "TranslationGap",
    "channel_covariances",
    "fourier_cca",
    "translation_gap",
]
