//go:build influxd

// Package influxd only names the two commands that build.py builds, so that go.mod and go.sum lock them with
// all that they need. The constraint above is never met: nothing is compiled from here.
package influxd

import (
	_ "github.com/influxdata/influxdb/v2/cmd/influxd"
	_ "github.com/influxdata/pkg-config"
)
