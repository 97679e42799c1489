package train

// Narrow reports whether the engine's steps are taken by a narrower network.
func (e *Engine) Narrow() bool { return e.narrowed != nil }

// Sparse counts the weights of which these steps know only what is kept.
func (e *Engine) Sparse() int {
	count := 0
	for _, p := range e.narrowed.parts {
		if len(p.small.Shape) < len(p.wide.Shape) {
			count++
		}
	}
	return count
}
