"""Keys of the batches that go from datasets through nets, losses and metrics.

B batch, C channels, S structures in the order of `BatchLayout.structures`; volumes are (z, y, x).
"""

# list of B | - | identifier of each case
CASE_ID = "case_id"
# B C z y x | channels scaled to about [-1, 1] | what the net sees
IMAGE = "image"
# B 1 z y x | Gy, total | reference dose; absent when cases have none
DOSE = "dose_gy"
# B 1 z y x, bool | - | voxels where dose is allowed and scored
DOSE_MASK = "dose_mask"
# B S z y x, bool | - | masks of targets and OARs; empty when absent
STRUCTURES = "structures"
# B S | Gy, total | prescription of targets; 0 for OARs and absent targets
PRESCRIPTION = "prescription_gy"
# B 3 | mm | voxel spacing in array order
SPACING = "spacing_zyx_mm"
# B C | - | padding value of each channel
FILL = "fill"
# B P | - | slider values of the net's `PreferenceSpace`, 1 is neutral; absent when nothing is asked for
PREFERENCE = "preference"
# B T | - | one-hot technique, then one-hot site (`core.plan_code`)
PLAN = "plan_code"
