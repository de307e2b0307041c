// Copyright 2026 The EdgeMetal Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

// apiServer answers for Nodes and events as an API server does, without a network, so that its clients can run by a test's clock.
type apiServer struct {
	t      *testing.T
	codecs serializer.CodecFactory

	mu      sync.Mutex
	nodes   map[string]*corev1.Node
	events  []corev1.Event
	watches []*io.PipeWriter
	version int
	// asked counts requests about single Nodes, and events.
	asked int
	// held is true while those who watch are told nothing; late are the Nodes that they have missed.
	held bool
	late []*corev1.Node
	// hung is open while requests about a single Node get no answer; nil while they do.
	hung chan struct{}
	// muted is true while writes get no answer, although they are done.
	muted bool
	// refused is true while conditions may not be written.
	refused bool
	// wrote is called before each write of a Node, read after each time that one is read by its name.
	wrote func(node, patch string)
	read  func(node string)
}

func newAPIServer(t *testing.T, nodes ...*corev1.Node) *apiServer {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	s := &apiServer{t: t, codecs: serializer.NewCodecFactory(scheme), nodes: map[string]*corev1.Node{}}
	for _, node := range nodes {
		s.put(node)
	}
	return s
}

func (s *apiServer) client() rest.Interface {
	s.t.Helper()
	client, err := NewClient(&rest.Config{Host: "http://api.test", Transport: s, QPS: -1})
	if err != nil {
		s.t.Fatal(err)
	}
	return client
}

// hang leaves requests about single Nodes without an answer until the function that it returns is called.
func (s *apiServer) hang() func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	hung := make(chan struct{})
	s.hung = hung
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.hung = nil
		close(hung)
	}
}

// hold tells those who watch nothing until the function that it returns is called.
func (s *apiServer) hold() func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, node := range s.late {
			s.tell(node)
		}
		s.held, s.late = false, nil
	}
}

// change changes a Node, and tells those who watch.
func (s *apiServer) change(name string, change func(*corev1.Node)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	node := s.nodes[name].DeepCopy()
	change(node)
	s.put(node)
}

// add creates a Node, and tells those who watch.
func (s *apiServer) add(node *corev1.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(node)
}

// remove deletes a Node, and tells those who watch.
func (s *apiServer) remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	node := s.nodes[name]
	delete(s.nodes, name)
	s.version++
	node.ResourceVersion = strconv.Itoa(s.version)
	for _, w := range s.watches {
		s.send(w, watch.Deleted, node)
	}
}

func (s *apiServer) put(node *corev1.Node) {
	s.version++
	node.ResourceVersion = strconv.Itoa(s.version)
	s.nodes[node.Name] = node
	if s.held {
		s.late = append(s.late, node)
		return
	}
	s.tell(node)
}

func (s *apiServer) tell(node *corev1.Node) {
	for _, w := range s.watches {
		s.send(w, watch.Modified, node)
	}
}

// node is a copy of one.
func (s *apiServer) node(name string) *corev1.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nodes[name].DeepCopy()
}

// recorded are the reasons of the events.
func (s *apiServer) recorded() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var reasons []string
	for _, event := range s.events {
		reasons = append(reasons, event.Reason)
	}
	return reasons
}

// RoundTrip implements http.RoundTripper.
func (s *apiServer) RoundTrip(r *http.Request) (*http.Response, error) {
	name, status := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/api/v1/nodes"), "/status")
	name = strings.TrimPrefix(name, "/")
	if name != "" {
		s.mu.Lock()
		s.asked++
		s.mu.Unlock()
	}
	switch {
	case r.Method == http.MethodPost:
		s.mu.Lock()
		defer s.mu.Unlock()
		event := &corev1.Event{}
		content, err := io.ReadAll(r.Body)
		if err == nil {
			_, _, err = s.codecs.UniversalDeserializer().Decode(content, nil, event)
		}
		if err != nil {
			return nil, err
		}
		s.events = append(s.events, *event)
		return answer(http.StatusCreated, event), nil
	case name == "":
		return s.list(r), nil
	}
	if err := s.waitHung(r.Context()); err != nil {
		return nil, err
	}
	if r.Method != http.MethodPatch {
		node := s.node(name)
		if s.read != nil {
			s.read(name)
		}
		return answer(http.StatusOK, node), nil
	}
	patch, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	answer := s.patch(name, patch, status)
	s.mu.Lock()
	muted := s.muted
	s.mu.Unlock()
	if muted {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return answer, nil
}

// refuse leaves conditions unwritten, or writes them again.
func (s *apiServer) refuse(refused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = refused
}

// mute leaves writes without an answer, or answers again.
func (s *apiServer) mute(muted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.muted = muted
}

func (s *apiServer) waitHung(ctx context.Context) error {
	s.mu.Lock()
	hung := s.hung
	s.mu.Unlock()
	if hung == nil {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-hung:
		return nil
	}
}

// patch writes the status or the rest of a Node.
func (s *apiServer) patch(name string, patch []byte, status bool) *http.Response {
	if s.wrote != nil {
		s.wrote(name, string(patch))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	node := s.nodes[name].DeepCopy()
	was := node.ResourceVersion
	if status && s.refused {
		status := apierrors.NewForbidden(corev1.Resource("nodes"), name, errors.New("not now")).Status()
		return answer(http.StatusForbidden, &status)
	}
	if status {
		node = s.patchStatus(node, patch)
	} else if node.Spec.Taints = nil; json.Unmarshal(patch, node) != nil {
		s.t.Errorf("patch %s", patch)
	}
	if node.ResourceVersion != was {
		status := apierrors.NewConflict(corev1.Resource("nodes"), name, errors.New("the object has been modified")).Status()
		return answer(http.StatusConflict, &status)
	}
	s.put(node)
	return answer(http.StatusOK, node)
}

func (s *apiServer) patchStatus(node *corev1.Node, patch []byte) *corev1.Node {
	before, err := json.Marshal(node)
	if err != nil {
		s.t.Error(err)
	}
	after, err := strategicpatch.StrategicMergePatch(before, patch, corev1.Node{})
	if err != nil {
		s.t.Error(err)
	}
	patched := &corev1.Node{}
	if err := json.Unmarshal(after, patched); err != nil {
		s.t.Error(err)
	}
	return patched
}

// list answers with the Nodes, or with a stream of them and of their changes.
func (s *apiServer) list(r *http.Request) *http.Response {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Query().Get("watch") == "" {
		list := &corev1.NodeList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "NodeList"}}
		for _, node := range s.nodes {
			list.Items = append(list.Items, *node)
		}
		return answer(http.StatusOK, list)
	}
	body, w := io.Pipe()
	context.AfterFunc(r.Context(), func() { _ = w.CloseWithError(io.EOF) })
	s.watches = append(s.watches, w)
	initial := r.URL.Query().Get("sendInitialEvents") == "true"
	var nodes []*corev1.Node
	for _, node := range s.nodes {
		nodes = append(nodes, node)
	}
	if initial {
		go func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, node := range nodes {
				s.send(w, watch.Added, node)
			}
			s.send(w, watch.Bookmark, &corev1.Node{ObjectMeta: metav1.ObjectMeta{
				ResourceVersion: "1", Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"},
			}})
		}()
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {runtime.ContentTypeJSON}}, Body: body}
}

func (s *apiServer) send(w io.Writer, kind watch.EventType, node *corev1.Node) {
	node = node.DeepCopy()
	node.APIVersion, node.Kind = "v1", "Node"
	event, err := json.Marshal(metav1.WatchEvent{Type: string(kind), Object: runtime.RawExtension{Object: node}})
	if err != nil {
		s.t.Error(err)
	}
	_, _ = w.Write(append(event, '\n')) // Nobody reads any more when the watch has ended.
}

func answer(code int, object runtime.Object) *http.Response {
	switch object := object.(type) {
	case *corev1.Node:
		object.APIVersion, object.Kind = "v1", "Node"
	case *metav1.Status:
		object.APIVersion, object.Kind = "v1", "Status"
	}
	content, err := json.Marshal(object)
	if err != nil {
		code = http.StatusInternalServerError
	}
	return &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {runtime.ContentTypeJSON}}, Body: io.NopCloser(bytes.NewReader(content))}
}

// elapsed since the start of a test, by its clock.
func elapsed(start time.Time) time.Duration { return time.Since(start).Round(time.Millisecond) }
