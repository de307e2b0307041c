// Pins Metal3's baremetal-operator for its CRD files, which the lab installs. Nothing of it is
// built here: the tool line names its smallest package and keeps the requirement in place.
module github.com/edgemetal/cluster-api-provider-edgemetal/test/tools/metal3

go 1.26.0

tool github.com/metal3-io/baremetal-operator/pkg/version

require github.com/metal3-io/baremetal-operator v0.13.2 // indirect
