"""Where things are: beams, plates, distances, outlines; arrays (z, y, x), LPS mm."""

from dosewright.geometry.angle_plate import angle_plate, angle_plate_volume
from dosewright.geometry.beam_frame import BeamFrame, beam_frame
from dosewright.geometry.beam_plate import beam_plate
from dosewright.geometry.body import body_mask
from dosewright.geometry.distance import distance_to_mm, signed_distance_mm
from dosewright.geometry.isocenter import centroid_xyz_mm, isocenter_of, isocenter_voxel, targets_mask
from dosewright.geometry.radiological_depth import radiological_depth_mm, relative_electron_density
from dosewright.geometry.rays import beam_eye_view, primary_fluence_plate, primary_fluence_plates
from dosewright.geometry.surface import bounding_box, surface_voxels

__all__ = [
    "BeamFrame",
    "angle_plate",
    "angle_plate_volume",
    "beam_eye_view",
    "beam_frame",
    "beam_plate",
    "body_mask",
    "bounding_box",
    "centroid_xyz_mm",
    "distance_to_mm",
    "isocenter_of",
    "isocenter_voxel",
    "primary_fluence_plate",
    "primary_fluence_plates",
    "radiological_depth_mm",
    "relative_electron_density",
    "signed_distance_mm",
    "surface_voxels",
    "targets_mask",
]
