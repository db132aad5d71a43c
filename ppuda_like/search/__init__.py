"""Search: architectures edited, cut and chosen by what predictors say of them."""
