"""How well a method detects and localises, and how sure we are of it.

- `image`: AUROC, average precision, the thesis's threshold protocol, bootstrap.
- `delong`: covariance of AUROCs on one test set, comparison of two methods.
- `seeds`: intervals over seeds (Obuchowski-Rockette, Student's t), Holm.
- `pixel`: pixel AUROC, AP, FPR95 and PRO from streaming histograms.
- `video`: frame AUC and AP, false alarms an hour, latency; bootstrap over videos.
- `localisation`: IoU, Dice and PRO of chapter 5 on five groups of images.

Everything is NumPy on the CPU. A larger score is more abnormal, always; labels are
0 for normal and 1 for abnormal.
"""
