"""From a decoded photo to a restored one: which weights, at which scale, in which tiles, on which device."""
