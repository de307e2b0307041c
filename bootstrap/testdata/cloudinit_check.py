# Copyright 2026 The EdgeMetal Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads config drives with the cloud-init that is installed and prints, as a JSON list, what it makes of them.

Usage: cloudinit_check.py DIR..., where DIR holds openstack/latest/{user_data,meta_data.json,network_data.json}.
Nothing outside of DIR is written and no module of cloud-init runs: parts are read, merged and written to DIR/var and DIR/run.
"""

import json
import logging
import os
import sys

import yaml
from cloudinit import handlers, helpers, user_data, util, version
from cloudinit.config import schema
from cloudinit.handlers.boot_hook import BootHookPartHandler
from cloudinit.handlers.cloud_config import CloudConfigPartHandler
from cloudinit.handlers.jinja_template import JinjaTemplatePartHandler
from cloudinit.handlers.shell_script import ShellScriptPartHandler
from cloudinit.net import netplan, network_state
from cloudinit.settings import PER_INSTANCE
from cloudinit.sources import DataSourceConfigDrive as configdrive
from cloudinit.sources.helpers import openstack


class Warnings(logging.Handler):
    """Collects what cloud-init complains about."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())


class RecordedBootHooks(BootHookPartHandler):
    """Keeps boothooks instead of running them."""

    hooks = []

    def handle_part(self, data, ctype, filename, payload, frequency):
        if ctype not in handlers.CONTENT_SIGNALS:
            self.hooks.append(payload)


class Distro:
    name = "debian"
    networking = None


class Cloud:
    def __init__(self, datasource):
        self.get_hostname = datasource.get_hostname


def read_drive(root, paths):
    results = configdrive.read_config_drive(root)
    datasource = configdrive.DataSourceConfigDrive({}, Distro(), paths)
    datasource.metadata = util.mergemanydict([results["metadata"], configdrive.DEFAULT_METADATA])
    paths.datasource = datasource
    return results, datasource


def write_instance_data(paths, run, metadata):
    # The file that templates are rendered with; its name differs between releases.
    names = {paths.get_runpath(key) for key in ("instance_data", "instance_data_sensitive") if key in paths.lookups or key in getattr(paths, "run_lookups", {})}
    names |= {os.path.join(run, name) for name in ("instance-data.json", "instance-data-sensitive.json")}
    data = {"ds": {"meta_data": metadata}, "v1": {"local_hostname": metadata["local-hostname"], "instance_id": metadata["instance-id"]}}
    for name in names:
        util.write_file(name, json.dumps(data))


def read_user_data(raw, paths, datasource):
    options = {"paths": paths, "datasource": datasource}
    config, script, hook = CloudConfigPartHandler(**options), ShellScriptPartHandler(**options), RecordedBootHooks(**options)
    known = helpers.ContentHandlers()
    for handler in (config, script, hook, JinjaTemplatePartHandler(**options, sub_handlers=[config, script, hook])):
        known.register(handler)
    message = user_data.UserDataProcessor(paths).process(raw)
    state = {"handlers": known, "handlerdir": paths.get_ipath("handlers"), "data": None, "frequency": PER_INSTANCE, "handlercount": 0, "excluded": []}
    for handler in (config, script, hook):
        handlers.call_begin(handler, None, PER_INSTANCE)
    handlers.walk(message, handlers.walker_callback, data=state)
    for handler in (config, script, hook):
        handlers.call_end(handler, None, PER_INSTANCE)
    parts = []
    for part in message.walk():
        if part.get_content_maintype() != "multipart":
            payload = util.fully_decoded_payload(part)
            parts.append({"type": part.get_content_type(), "payload": payload if isinstance(payload, str) else payload.decode("utf-8", "surrogateescape")})
    with open(paths.get_ipath("cloud_config")) as merged:
        text = merged.read()
    folder = paths.get_ipath_cur("scripts")
    scripts = {}
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        with open(os.path.join(folder, name), newline="") as content:
            scripts[name] = content.read()
    return {"parts": parts, "config": yaml.safe_load(text) or {}, "scripts": scripts, "boothooks": hook.hooks}


def check_schema(config):
    try:
        schema.validate_cloudconfig_schema(config, schema.get_schema(), strict=True)
    except schema.SchemaValidationError as error:
        return str(error)
    return ""


def render_network(document, root):
    macs = {link["ethernet_mac_address"]: "eth%d" % i for i, link in enumerate(document["links"]) if link["type"] == "phy"}
    config = openstack.convert_net_json(document, known_macs=macs)
    problem = ""
    if hasattr(schema, "SchemaType"):
        try:
            schema.validate_cloudconfig_schema(config, schema_type=schema.SchemaType.NETWORK_CONFIG, strict=True)
        except schema.SchemaValidationError as error:
            problem = str(error)
    state = network_state.parse_net_config_data(config)
    netplan.Renderer({"netplan_path": "netplan.yaml", "postcmds": False}).render_network_state(state, target=root)
    with open(os.path.join(root, "netplan.yaml")) as rendered:
        return config, yaml.safe_load(rendered), problem


def read(root):
    warnings = Warnings()
    logging.getLogger().addHandler(warnings)
    RecordedBootHooks.hooks = []
    run = os.path.join(root, "run")
    paths = helpers.Paths({"cloud_dir": os.path.join(root, "var"), "run_dir": run, "templates_dir": root})
    results, datasource = read_drive(root, paths)
    write_instance_data(paths, run, datasource.metadata)
    out = {"version": version.version_string(), "metadata": datasource.metadata}
    out.update(read_user_data(results["userdata"], paths, datasource))
    out["semaphore"] = helpers.canon_sem_name("config-scripts-user")
    out["schema"] = check_schema(out["config"])
    names = util.get_hostname_fqdn(out["config"], Cloud(datasource))
    out["hostname"], out["fqdn"] = names[0], names[1]
    if results.get("networkdata"):
        out["network"], out["netplan"], out["network_schema"] = render_network(results["networkdata"], root)
    out["warnings"] = warnings.messages
    logging.getLogger().removeHandler(warnings)
    return out


json.dump([read(root) for root in sys.argv[1:]], sys.stdout, indent=1, default=str)
