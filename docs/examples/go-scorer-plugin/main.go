// Command go-scorer-plugin is the Gateway API inference extension's endpoint picker with one more scorer, kv-cost.
package main

import (
	"os"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/gateway-api-inference-extension/cmd/epp/runner"
	"sigs.k8s.io/gateway-api-inference-extension/pkg/epp/framework/interface/plugin"

	"example.com/go-scorer-plugin/kvscorer"
)

func main() {
	plugin.Register(kvscorer.Type, kvscorer.Factory)
	if err := runner.NewRunner().Run(ctrl.SetupSignalHandler()); err != nil {
		os.Exit(1)
	}
}
