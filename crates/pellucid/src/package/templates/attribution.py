
# What spoke for the best class, at the network's input: positive for it, negative against it.
attribution = outputs["attribution"][0]
print(f"attribution {attribution.shape}, from {attribution.min():.3g} to {attribution.max():.3g}")
np.save("attribution.npy", attribution)
