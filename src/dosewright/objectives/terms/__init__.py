"""Penalty terms: functions of the dose in one structure's voxels, with gradient and Hessian, for a batch of plans."""
