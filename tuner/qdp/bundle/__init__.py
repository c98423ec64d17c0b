"""Write a folder that serves tactics to TensorRT by itself.

- `chains`: what a bundle holds of an operator of several launches: a plugin for each, and what their layers are given
- `contents`: what a bundle holds of one problem on one device
- `export`: a folder that serves frozen tactics to TensorRT with neither this package nor Triton installed
- `folder`: what the files of a bundle hold: PTX, plugin.py, manifest.json. Equal contents give equal bytes
- `manifest`: ``manifest.json`` of a bundle: which tactics it serves, how they are launched, and where their times
  come from
- `place`: put the files of a bundle into its folder, in the place of an earlier bundle's, and touch nothing else that
  is there
- `recorded`: launch arithmetic written down, so that it can be evaluated where this package is not installed
- `serving`: serve frozen tactics to TensorRT: the fixed half of a bundle's plugin.py, which names the plugins after
  it
"""
