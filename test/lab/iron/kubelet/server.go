// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	certutil "k8s.io/client-go/util/cert"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
)

// server is the kubelet's HTTPS API: port forwarding to pods, their logs and programs run in them. Clients
// need a certificate of the cluster's CA, which is what the API server has.
type server struct {
	k        *instance
	listener net.Listener
}

// listen binds the Node's address.
func (k *instance) listen() (*server, error) {
	caPEM, err := k.Disk.Read(k.settings.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("unable to load client CA file: %w", err)
	}
	clientCAs := x509.NewCertPool()
	if !clientCAs.AppendCertsFromPEM(caPEM) {
		return nil, fmt.Errorf("unable to load client CA file %s: it holds no certificate", k.settings.ClientCAFile)
	}
	address := k.nodeIP.String()
	certPEM, keyPEM, err := certutil.GenerateSelfSignedCertKey(k.settings.NodeName, []net.IP{net.ParseIP(address)}, []string{k.settings.NodeName})
	if err != nil {
		return nil, fmt.Errorf("making the serving certificate: %w", err)
	}
	certificate, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("loading the serving certificate: %w", err)
	}
	listener, err := tls.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(Port)), &tls.Config{
		Certificates: []tls.Certificate{certificate}, ClientCAs: clientCAs, ClientAuth: tls.RequireAndVerifyClientCert,
		// Port forwarding hijacks the connection, which HTTP/2 cannot do.
		NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12,
	})
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	return &server{k: k, listener: listener}, nil
}

// serve answers until the context ends.
func (s *server) serve(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/portForward/{namespace}/{pod}", s.portForward)
	mux.HandleFunc("/portForward/{namespace}/{pod}/{uid}", s.portForward)
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", s.logs)
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", s.exec)
	mux.HandleFunc("/exec/{namespace}/{pod}/{uid}/{container}", s.exec)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	httpServer := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = httpServer.Close() })
	defer stop()
	if err := httpServer.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the kubelet API: %w", err)
	}
	return context.Canceled
}

func (s *server) portForward(w http.ResponseWriter, r *http.Request) {
	pod := s.k.pods.find(r.PathValue("namespace"), r.PathValue("pod"))
	if pod == nil {
		http.Error(w, "pod does not exist", http.StatusNotFound)
		return
	}
	options, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	portforward.ServePortForward(w, r, forwarder{address: s.k.nodeIP.String()}, pod.pod.Name, string(pod.pod.UID), options,
		4*time.Hour, 30*time.Second, []string{portforward.PortForwardV1Name})
}

// logs is a container's whole log; it does not follow.
func (s *server) logs(w http.ResponseWriter, r *http.Request) {
	pod := s.k.pods.find(r.PathValue("namespace"), r.PathValue("pod"))
	if pod == nil {
		http.Error(w, "pod does not exist", http.StatusNotFound)
		return
	}
	c := pod.container(r.PathValue("container"))
	if c == nil {
		http.Error(w, "container not found", http.StatusNotFound)
		return
	}
	file, err := os.Open(c.log)
	if err != nil {
		http.Error(w, "the container has no log yet", http.StatusNotFound)
		return
	}
	defer file.Close()
	_, _ = io.Copy(w, file)
}

// forwarder connects streams to a port of the host: what runs here uses the host's network.
type forwarder struct {
	address string
}

// PortForward copies both ways until both ends are done.
func (f forwarder) PortForward(ctx context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(f.address, strconv.Itoa(int(port))))
	if err != nil {
		return fmt.Errorf("port %d: %w", port, err)
	}
	defer connection.Close()
	var copies sync.WaitGroup
	copies.Go(func() {
		_, _ = io.Copy(connection, stream)
		_ = connection.(*net.TCPConn).CloseWrite()
	})
	_, _ = io.Copy(stream, connection)
	_ = stream.Close()
	copies.Wait()
	return nil
}
