"""Values and scores as the sources of the shipped cards print them."""

from collections.abc import Iterator

# arXiv:2501.11803, Tables 7 (9-angle IMRT) and 8 (4-arc VMAT): structure and metric as there, our structure and metric,
# then value and score of Table 7 initial, Table 7 AIRTP, Table 8 initial, Table 8 AIRTP.
AIRTP = """
PTVHighOPT VolumeAtDose 70.0 Gy | PTV_High_OPT V70Gy [%] | 97.00 19.00 | 97.00 19.00 | 97.00 19.00 | 97.00 19.00
PTVHighOPT DoseAtVolume 99.5 % | PTV_High_OPT D99.5% [Gy] | 69.07 1.33 | 69.10 1.34 | 69.00 1.32 | 69.02 1.33
PTVHighOPT DoseAtVolume 0.03 CC | PTV_High_OPT D0.03cc [Gy] | 74.83 8.55 | 74.50 8.78 | 74.39 8.86 | 74.19 9.01
PTVLow VolumeAtDose 56.0 Gy | PTV_Low V56Gy [%] | 99.39 14.90 | 99.36 14.89 | 97.21 14.53 | 97.79 14.63
PTVLow DoseAtVolume 99.5 % | PTV_Low D99.5% [Gy] | 55.82 1.46 | 55.85 1.47 | 54.51 1.17 | 55.11 1.30
PTVLow-PTVHigh VolumeAtDose 58.8 Gy | PTV_Low-PTV_Mid V58.8Gy [%] | 75.89 0.82 | 60.61 3.88 | 45.17 6.36 | 41.23 6.66
SpinalCord.05 DoseAtVolume 0.03 CC | SpinalCord_PRV05 D0.03cc [Gy] | 45.44 5.82 | 46.85 5.26 | 41.38 6.09 | 38.60 6.16
SpinalCord.05 VolumeAtDose 40.0 Gy | SpinalCord_PRV05 V40Gy [%] | 5.42 1.37 | 3.92 1.61 | 0.49 1.95 | 0.00 2.00
SpinalCord.05 VolumeAtDose 30.0 Gy | SpinalCord_PRV05 V30Gy [%] | 45.87 -0.44 | 33.38 1.16 | 33.79 1.12 | 10.67 1.82
BrainStem.03 DoseAtVolume 0.03 CC | Brainstem_PRV03 D0.03cc [Gy] | 49.56 3.01 | 45.50 3.11 | 45.32 3.12 | 44.47 3.14
Brain DoseAtVolume 0.03 CC | Brain D0.03cc [Gy] | 57.77 1.61 | 54.10 1.64 | 52.50 1.66 | 53.84 1.65
Brain VolumeAtDose 50.0 Gy | Brain V50Gy [cc] | 0.64 3.00 | 0.08 3.00 | 0.08 3.00 | 0.11 3.00
Pituitary MeanDose | Pituitary Dmean [Gy] | 5.50 0.95 | 5.74 0.95 | 3.33 0.97 | 3.27 0.97
OpticNerve.L DoseAtVolume 0.03 CC | OpticNrv_L D0.03cc [Gy] | 3.55 2.94 | 3.68 2.93 | 2.57 2.95 | 2.52 2.96
OpticNerve.R DoseAtVolume 0.03 CC | OpticNrv_R D0.03cc [Gy] | 3.37 2.94 | 3.72 2.93 | 2.59 2.95 | 3.52 2.96
Cochlea.R VolumeAtDose 40.0 Gy | Cochlea_R V40Gy [%] | 0.00 3.00 | 0.00 3.00 | 0.00 3.00 | 0.00 3.00
Cochlea.L VolumeAtDose 40.0 Gy | Cochlea_L V40Gy [%] | 0.00 3.00 | 0.00 3.00 | 0.00 3.00 | 0.00 3.00
Lens.R DoseAtVolume 0.03 CC | Lens_R D0.03cc [Gy] | 1.75 2.33 | 1.83 2.32 | 1.54 2.35 | 1.41 2.36
Lips MeanDose | Lips Dmean [Gy] | 24.83 2.58 | 20.63 4.68 | 23.99 3.01 | 17.38 5.79
Mandible-PTV VolumeAtDose 70.0 Gy | Bone_Mandible-PTV V70Gy [%] | 0.00 5.00 | 0.00 5.00 | 0.00 5.00 | 0.00 5.00
Mandible-PTV VolumeAtDose 60.0 Gy | Bone_Mandible-PTV V60Gy [%] | 0.16 2.00 | 0.01 2.00 | 0.00 2.00 | 0.00 2.00
Mandible-PTV VolumeAtDose 50.0 Gy | Bone_Mandible-PTV V50Gy [%] | 16.75 1.78 | 10.52 1.86 | 13.75 1.82 | 7.06 1.91
Esophagus MeanDose | Esophagus Dmean [Gy] | 17.51 3.62 | 19.06 3.55 | 13.90 3.78 | 12.95 3.80
Esophagus DoseAtVolume 0.03 CC | Esophagus D0.03cc [Gy] | 54.07 3.05 | 56.14 2.98 | 48.52 3.19 | 53.59 3.06
OCavity-PTV MeanDose | Cavity_Oral-PTV Dmean [Gy] | 39.58 1.67 | 33.19 3.63 | 39.55 1.68 | 30.11 4.47
OCavity-PTV DoseAtVolume 0.03 CC | Cavity_Oral-PTV D0.03cc [Gy] | 59.82 1.76 | 57.35 1.92 | 58.05 1.87 | 57.31 1.92
RingPTVHigh DoseAtVolume 0.03 CC | Ring_PTV_High D0.03cc [Gy] | 72.24 2.70 | 71.70 3.86 | 70.27 4.90 | 70.12 4.96
RingPTVLow DoseAtVolume 0.03 CC | Ring_PTV_Low D0.03cc [Gy] | 63.92 -6.82 | 63.11 -5.74 | 58.23 1.52 | 57.95 2.29
Posterior_Neck VolumeAtDose 35.0 Gy | Neck_Post V35Gy [%] | 52.65 -2.12 | 45.78 0.68 | 45.95 0.65 | 37.85 1.94
Trachea MeanDose | Trachea Dmean [Gy] | 13.16 2.11 | 13.66 2.09 | 10.84 2.17 | 8.31 2.25
Lungs VolumeAtDose 20.0 Gy | Lungs V20Gy [cc] | 13.36 1.99 | 12.77 1.99 | 10.97 1.99 | 9.92 1.99
Shoulders MeanDose | Shoulders Dmean [Gy] | 4.65 0.92 | 4.73 0.92 | 4.20 0.93 | 4.56 0.92
"""
FINAL_SCORES = (95.84, 109.70, 117.92, 127.23)

# The other items of Table 6, whose scores no table prints.
UNPRINTED = (
    *("PTV_Mid V63Gy [%]", "PTV_Mid D99.5% [Gy]", "PTV_Mid-PTV_High V66.2Gy [%]", "OpticChiasm D0.03cc [Gy]"),
    *(
        "Glnd_Lacrimals Dmean [Gy]",
        "Lens_L D0.03cc [Gy]",
        "Eye_R D0.03cc [Gy]",
        "Eye_R Dmean [Gy]",
        "Eye_L D0.03cc [Gy]",
    ),
    *(
        "Larynx-PTV Dmean [Gy]",
        "Glnd_Thyroid-PTV Dmean [Gy]",
        "BrachialPlex_L D0.1cc [Gy]",
        "BrachialPlex_R D0.1cc [Gy]",
    ),
    *("Glnd_Submand_L-PTV Dmean [Gy]", "Glnd_Submand_R-PTV Dmean [Gy]", "Joint_TM D0.03cc [Gy]"),
    *("Ring_PTV_Mid D0.03cc [Gy]", "Parotids-PTV Dmean [Gy]", "Glnd_Submands-PTV Dmean [Gy]"),
)

# arXiv:2501.11803, Table 5, in its order.
LUNG = (
    *("PTV V60Gy [%]", "CTV V60Gy [%]", "PTV V57Gy [%]", "PTV V54Gy [%]", "PTV D0.03cc [Gy]", "PTV D99.5% [Gy]"),
    *("Lungs-GTV V20Gy [%]", "Lungs-GTV V5Gy [%]", "Lungs-GTV Dmean [Gy]", "SpinalCord D0.03cc [Gy]"),
    *("Heart D0.03cc [Gy]", "Heart Dmean [Gy]", "A_LAD V15Gy [%]", "Esophagus D0.03cc [Gy]", "Esophagus Dmean [Gy]"),
    *("BrachialPlexs D0.03cc [Gy]", "GreatVes D0.03cc [Gy]", "Trachea D0.03cc [Gy]"),
)

# arXiv:2506.10073, appendix A: patients P1 to P5, each value and score of the manual, the DQN and the PPO plan.
REPLANNING = """
CTV1 C | CTV_High V70Gy [%]
  P1  97.99 14.99  98.01 15.00  97.99 14.99
  P2  97.99 14.99  98.01 15.00  97.99 14.99
  P3  97.99 14.99  98.00 15.00  97.99 14.99
  P4  98.01 15.00  97.97 14.98  98.01 15.00
  P5  97.99 14.99  97.99 14.99  98.00 15.00
CTV1 M | CTV_High Dmax [Gy]
  P1  81.86  3.31  81.02  3.43  82.24  3.25
  P2  82.30  3.24  83.03  3.14  83.61  3.06
  P3  81.52  3.35  81.00  3.43  79.68  3.62
  P4  81.23  3.40  77.82  3.88  78.58  3.77
  P5  77.26  3.96  80.82  3.45  77.82  3.88
CTV2 | CTV_Mid V63Gy [%]
  P1  97.97 14.98  97.99 14.99  98.56 15.00
  P2  97.94 14.96  98.27 15.00  98.04 15.00
  P3  98.39 15.00  98.39 15.00  98.29 15.00
  P4  98.55 15.00  98.14 15.00  98.19 15.00
  P5  99.51 15.00  98.50 15.00  99.19 15.00
CTV3 | CTV_Low V56Gy [%]
  P1  97.84 14.89  98.03 15.00  99.00 15.00
  P2  97.76 14.84  98.27 15.00  98.18 15.00
  P3  98.18 15.00  98.33 15.00  98.02 15.00
  P4  98.02 15.00  97.94 14.96  98.03 15.00
  P5  99.12 15.00  97.98 14.99  97.53 14.69
BRS | Brainstem Dmax [Gy]
  P1  23.29 21.00  24.01 21.00  24.17 21.00
  P2  19.59 21.00  19.58 21.00  20.04 21.00
  P3  10.69 21.00  10.55 21.00  10.77 21.00
  P4   2.87 21.00   2.82 21.00  20.04 21.00
  P5  13.69 21.00  12.48 21.00  14.07 21.00
SC | SpinalCord Dmax [Gy]
  P1  37.63 17.18  37.67 17.17  40.60 15.70
  P2  22.63 21.00  22.70 21.00  22.85 21.00
  P3  31.81 20.09  32.35 19.82  32.17 19.91
  P4  13.85 21.00  14.04 21.00  22.85 21.00
  P5  30.58 20.71  30.23 20.88  32.06 19.97
MAN | Bone_Mandible V70Gy [%]
  P1   1.73  5.00   0.58  5.00   2.18  5.00
  P2   1.29  5.00   1.07  5.00   1.51  5.00
  P3   0.13  5.00   0.00  5.00   1.28  5.00
  P4   0.22  5.00   0.09  5.00   0.09  5.00
  P5   0.08  5.00   0.67  5.00   0.20  5.00
LAR | Larynx Dmean [Gy]
  P1  43.76  5.50  43.84  5.46  40.15  6.94
  P2  36.51  7.00  36.48  7.00  36.76  7.00
  P3  34.76  7.00  34.84  7.00  34.91  7.00
  P4  45.29  3.30  44.51  5.20  39.29  7.00
  P5  32.10  7.00  32.74  7.00  30.86  7.00
PHY | Pharynx Dmean [Gy]
  P1   0.00  7.00   0.00  7.00   0.00  7.00
  P2  49.13  7.00  48.95  7.00  49.41  7.00
  P3   0.00  7.00   0.00  7.00   0.00  7.00
  P4  44.00  7.00  43.17  7.00  42.13  7.00
  P5  37.73  7.00  38.98  7.00  35.12  7.00
PARL | Parotid_L Dmean [Gy]
  P1  14.43  7.00  14.57  7.00  15.56  7.00
  P2  26.00  7.00  26.00  7.00  22.74  7.00
  P3  20.39  7.00  20.19  7.00  20.52  7.00
  P4  21.76  7.00  21.79  7.00  21.86  7.00
  P5  10.04  7.00   9.63  7.00  10.12  7.00
PARR | Parotid_R Dmean [Gy]
  P1  34.60  0.00  34.50  0.00  23.86  7.00
  P2  28.41  2.78  25.15  7.00  25.81  7.00
  P3  32.68  0.00  25.97  7.00  25.71  7.00
  P4  10.08  7.00  10.28  7.00  10.19  7.00
  P5  21.56  7.00  21.81  7.00  21.69  7.00
COCHL | Cochlea_L Dmean [Gy]
  P1   4.03  5.00   4.15  5.00   3.96  5.00
  P2  39.34  3.27  39.82  3.07  33.55  5.00
  P3   0.02  5.00   0.02  5.00   0.02  5.00
  P4   6.92  5.00   6.93  5.00   6.97  5.00
  P5   0.00  5.00   0.00  5.00   0.00  5.00
COCHR | Cochlea_R Dmean [Gy]
  P1   2.09  5.00   2.07  5.00   2.42  5.00
  P2   8.44  5.00   8.47  5.00   8.56  5.00
  P3   0.84  5.00   0.88  5.00   0.84  5.00
  P4   0.02  5.00   0.02  5.00   0.02  5.00
  P5   0.00  5.00   0.00  5.00   0.00  5.00
SMGL | Glnd_Submand_L Dmean [Gy]
  P1  59.73     0  60.59     0  60.07     0
  P2  72.57     0  72.11     0  72.68     0
  P3   0.00  5.00   0.00  5.00   0.00  5.00
  P4   0.00  5.00   0.00  5.00   0.00  5.00
  P5  68.14     0  71.57     0  68.15     0
SMGR | Glnd_Submand_R Dmean [Gy]
  P1   0.00  5.00   0.00  5.00   0.00  5.00
  P2  72.83     0  72.51     0  73.06     0
  P3   0.00  5.00   0.00  5.00   0.00  5.00
  P4  36.87  4.25  37.30  4.08  37.98  5.00
  P5  67.28     0  70.89     0  37.60     0
ESO | Esophagus Dmean [Gy]
  P1  11.09  5.00  11.09  5.00  11.57  5.00
  P2   6.23  5.00   6.26  5.00   6.24  5.00
  P3  13.26  5.00  13.35  5.00  13.31  5.00
  P4   1.36  5.00   1.38  5.00   1.38  5.00
  P5   6.41  5.00   5.85  5.00   6.69  5.00
"""
TOTALS = (
    *((130.85, 131.05, 137.88), (132.09, 136.20, 138.05), (140.44, 147.25, 147.52)),
    *((143.94, 146.10, 148.77), (138.67, 138.32, 141.50)),
)
# (structure, patient, plan) → value and score as they must be. P5: the column adds up to the total only with 3.96.
# P4: Table 4 of the paper gives other values (the brainstem's and the cord's too, which score the same).
MISPRINTS = {("SMGR", 5, "PPO"): (37.60, 3.96), ("SMGR", 4, "PPO"): (31.98, 5.00)}


def airtp_pairs() -> Iterator[tuple[str, int, float, float]]:
    """Our item, column (0 to 3), value, score."""
    for line in AIRTP.strip().splitlines():
        _, ours, *columns = (part.strip() for part in line.split("|"))
        for column, pair in enumerate(columns):
            value, score = map(float, pair.split())
            yield ours, column, value, score


def replanning_pairs() -> Iterator[tuple[str, str, int, str, float, float]]:
    """Structure as printed, our item, patient, plan, value, score."""
    printed = ours = ""
    for line in REPLANNING.strip().splitlines():
        if "|" in line:
            printed, ours = (part.strip() for part in line.split("|"))
            continue
        patient, *numbers = line.split()
        pairs = [float(number) for number in numbers]
        for plan, value, score in zip(("manual", "DQN", "PPO"), pairs[::2], pairs[1::2], strict=True):
            yield printed, ours, int(patient[1]), plan, value, score
