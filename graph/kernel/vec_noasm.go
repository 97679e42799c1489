//go:build !amd64 || purego

package kernel

// vecAvailable lists the implementations in use: the Go twins alone.
func vecAvailable() []vecLoops { return []vecLoops{{name: "go"}} }
