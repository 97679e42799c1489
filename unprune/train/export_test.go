package train

// Narrow reports whether the engine's steps are taken by a narrower network.
func (e *Engine) Narrow() bool { return e.narrowed != nil }
