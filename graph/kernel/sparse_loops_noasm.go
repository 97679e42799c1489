//go:build !amd64 || purego

package kernel

func sparseF32() []sparseLoops[float32] { return nil }
