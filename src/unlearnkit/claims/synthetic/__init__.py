"""NPO's logistic-regression experiment (arXiv:2404.05868, section 3.1 and appendix D): why gradient ascent collapses."""
