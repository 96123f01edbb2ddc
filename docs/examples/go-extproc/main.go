// Command go-extproc is an endpoint picker written in Go: an ext_proc server for Envoy that asks libepp_request where
// each request goes.
//
//	EPP_REQUEST_LIBRARY=.../lib/libepp_request.so go-extproc -config picker.yaml -listen :9002
//
// When it serves, one JSON line goes to standard output: {"event":"ready","grpc_port":9002}. SIGTERM ends it.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	extproc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"

	"github.com/llm-endpoint-picker/epp/cabi/go/request"
)

const (
	readyDeadline = 30 * time.Second
	// maxMessage is what Envoy buffers of a body by default and more: one message holds a whole body.
	maxMessage = 64 << 20
)

func main() {
	config := flag.String("config", "picker.yaml", "the picker's configuration file")
	listen := flag.String("listen", "127.0.0.1:0", "address of the ext_proc server; port 0: the kernel chooses")
	flag.Parse()
	if err := run(*config, *listen); err != nil {
		log.Fatal(err)
	}
}

func run(config, listen string) error {
	text, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	picker, err := request.Open(string(text))
	if err != nil {
		return err
	}
	defer picker.Close()
	waiting, cancel := context.WithTimeout(context.Background(), readyDeadline)
	defer cancel()
	if err := picker.WaitReady(waiting); err != nil {
		log.Printf("serving all the same: %v", err)
	}
	return serve(picker, listen)
}

func serve(picker *request.Picker, listen string) error {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(maxMessage))
	extproc.RegisterExternalProcessorServer(server, &processor{picker: picker})
	signals, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	context.AfterFunc(signals, server.Stop)
	fmt.Printf("{\"event\":\"ready\",\"grpc_port\":%d}\n", listener.Addr().(*net.TCPAddr).Port)
	return server.Serve(listener)
}
