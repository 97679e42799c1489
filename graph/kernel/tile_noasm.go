//go:build !amd64 || purego

package kernel

var tilingsF32 []*tiling[float32]
