"""Writes the reference of `src/resample.rs`: Pillow (antialias) and PyTorch (without). Usage: resize.py resize.json"""
import json, sys
import numpy as np, PIL.Image, torch, torch.nn.functional as F

def picture(width, height):
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 37 + y * 11, x * x + 3 * y, y * 53 + x * 5], -1) % 256

cases = []
for (fw, fh), (w, h) in [((17, 11), (6, 5)), ((9, 7), (20, 13)), ((40, 3), (7, 7))]:
    source = picture(fw, fh).astype(np.uint8)
    for name in ["bilinear", "bicubic"]:
        pil = PIL.Image.fromarray(source).resize((w, h), getattr(PIL.Image.Resampling, name.upper()))
        cases.append(dict(from_width=fw, from_height=fh, width=w, height=h, interpolation=name, antialias=True,
                          pixels=np.asarray(pil).ravel().tolist()))
        t = torch.from_numpy(source).permute(2, 0, 1)[None].double()
        # 8 bits are kept between the axes, as everywhere here.
        q = lambda t: (t + .5).floor().clamp(0, 255)
        t = q(F.interpolate(t, size=(fh, w), mode=name, align_corners=False))
        t = q(F.interpolate(t, size=(h, w), mode=name, align_corners=False))
        cases.append(dict(from_width=fw, from_height=fh, width=w, height=h, interpolation=name, antialias=False,
                          pixels=t[0].permute(1, 2, 0).to(torch.uint8).numpy().ravel().tolist()))
    near = PIL.Image.fromarray(source).resize((w, h), PIL.Image.Resampling.NEAREST)
    cases.append(dict(from_width=fw, from_height=fh, width=w, height=h, interpolation="nearest", antialias=False,
                      pixels=np.asarray(near).ravel().tolist()))
json.dump(dict(made_by="tests/data/resize.py", pillow=PIL.__version__, torch=torch.__version__, cases=cases),
          open(sys.argv[1], "w"), separators=(",", ":"))
