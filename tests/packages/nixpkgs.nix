# SPDX-License-Identifier: MIT
#
# As much of nixpkgs as the expression asks for, of the tools and libraries that
# Debian has: nothing is downloaded, and nothing is kept apart from the host.
{ }:

let
  debian = { outPath = "/usr"; };

  lib = {
    cleanSource = path: path;
    cleanSourceWith =
      { src, filter }:
      builtins.path {
        name = "source";
        path = src;
        inherit filter;
      };
    getDev = package: package;
    licenses.mit = "MIT";
    platforms.linux = [ builtins.currentSystem ];
  };

  stdenv.mkDerivation =
    arguments:
    derivation (
      builtins.removeAttrs arguments [
        "buildInputs"
        "env"
        "meta"
        "nativeBuildInputs"
      ]
      // arguments.env
      // {
        name = "${arguments.pname}-${arguments.version}";
        system = builtins.currentSystem;
        builder = "/bin/bash";
        args = [
          "-euc"
          ''
            export PATH=/usr/sbin:/usr/bin:/sbin:/bin
            cp -r "$src" source
            chmod -R u+w source
            cd source
            make -j2 $makeFlags
            make $makeFlags install
            eval "$postInstall"
          ''
        ];
      }
    );

  packages = {
    inherit lib stdenv;
    bpftools = debian;
    elfutils = debian;
    libbpf = debian;
    llvmPackages.clang-unwrapped = debian;
    llvmPackages.llvm = debian;
    zlib = debian;
  };
in
{
  callPackage =
    path: arguments:
    let
      function = import path;
    in
    function (builtins.intersectAttrs (builtins.functionArgs function) packages // arguments);
}
