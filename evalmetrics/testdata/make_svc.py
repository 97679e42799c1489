"""Fits scikit-learn's SVC to 20 random problems and writes svc.npz.

Usage: python make_svc.py      (NumPy and scikit-learn; any recent version)

Each problem i has members `i/members`, others `i/others`, points to decide on
`i/query`, the settings `i/c_gamma` and scikit-learn's decision values
`i/decision`. Problems differ in size, width, overlap, C and gamma; some have
repeated points, as the attack on correctness has.
"""

import pathlib

import numpy as np
from sklearn.svm import SVC

arrays = {}
for i in range(20):
    rng = np.random.default_rng(1000 + i)
    width = [1, 1, 2, 5, 10][i % 5]
    members = rng.normal(0.0, 1.0, (int(rng.integers(10, 120)), width))
    others = rng.normal(rng.uniform(0, 2), rng.uniform(0.3, 2), (int(rng.integers(10, 120)), width))
    query = rng.normal(0.5, 1.5, (30, width))
    if i % 7 == 3:
        members, others, query = (np.round(x) for x in (members, others, query))
    c = float([3, 3, 0.3, 30][i % 4])
    gamma = 1 / width if i % 2 == 0 else float(rng.uniform(0.1, 3))
    x = np.concatenate([members, others])
    y = np.concatenate([np.ones(len(members)), np.zeros(len(others))])
    machine = SVC(C=c, gamma=gamma, kernel="rbf").fit(x, y)
    arrays[f"{i}/members"], arrays[f"{i}/others"], arrays[f"{i}/query"] = members, others, query
    arrays[f"{i}/c_gamma"] = np.array([c, gamma])
    arrays[f"{i}/decision"] = machine.decision_function(query)

np.savez_compressed(pathlib.Path(__file__).with_name("svc.npz"), **arrays)
