# SPDX-License-Identifier: MIT
#
# For callPackage of nixpkgs, see dist/README.md.
{
  lib,
  stdenv,
  bpftools,
  elfutils,
  libbpf,
  llvmPackages,
  zlib,
}:

stdenv.mkDerivation {
  pname = "acme-alpn-proxy";
  version = "0.1.0";

  # The sources, without what was built in the same folder.
  src = lib.cleanSourceWith {
    src = lib.cleanSource ../..;
    filter = path: _type: baseNameOf path != "build";
  };

  strictDeps = true;
  nativeBuildInputs = [
    bpftools
    llvmPackages.clang-unwrapped
    llvmPackages.llvm
  ];
  buildInputs = [
    elfutils
    libbpf
    zlib
  ];

  # For the BPF programs alone: the compiler that is not wrapped knows no
  # options of hardening, and no folder of headers.
  env.CLANG = "clang -isystem ${lib.getDev libbpf}/include";
  makeFlags = [
    "PREFIX=${placeholder "out"}"
    "SBINDIR=${placeholder "out"}/bin"
    "BPFTOOL=bpftool"
  ];
  enableParallelBuilding = true;

  # systemd looks for programs in folders that NixOS does not have.
  postInstall = ''
    sed -i "s,\(=\|exec \)acme-alpn-proxy,\1$out/bin/acme-alpn-proxy," \
      "$out/lib/systemd/system/acme-alpn-proxy.service"
  '';

  meta = {
    description = "Answer TLS-ALPN-01 challenges beside a running web server";
    homepage = "https://www.rfc-editor.org/rfc/rfc8737";
    license = lib.licenses.mit;
    mainProgram = "acme-alpn-proxy";
    platforms = lib.platforms.linux;
  };
}
