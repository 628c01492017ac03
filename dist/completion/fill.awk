# SPDX-License-Identifier: MIT
#
# awk -f fill.awk TABLE TEMPLATE: fill a completion script's @places@ in from
# the option table, as table.c prints it.

function append(place, text, separator)
{
	filled[place] = filled[place] (filled[place] == "" ? "" : separator) text
}

# @text inside '...[here]...' and '...((word:"here"))'.
function zsh_quoted(text)
{
	gsub(/[][\\]/, "\\\\&", text)
	gsub(/'/, "'\\''", text)
	return text
}

# What _arguments says behind the brackets for a value called @value.
function zsh_value(value)
{
	if (value == "")
		return ""
	if (value ~ /^=/)
		return "::value: "
	if (value == "PATH")
		return ":file:_files"
	if (value == "USER")
		return ":user:_users"
	if (value == "INTERFACE")
		return ":interface:_net_interfaces"
	if (value ~ /^[a-z]/) {
		gsub(/\|/, " ", value)
		return ":value:(" value ")"
	}
	return ":value: "
}

function zsh_option(name, equals, excluded, help, value)
{
	append("zsh_options", "'" excluded name equals "[" zsh_quoted(help) "]" \
		zsh_value(value) "' \\", "\n\t")
}

function add_option(name, alias, value, group, help,	equals, excluded)
{
	append("options", name, " ")
	if (value != "" && value !~ /^=/)
		append("bash_values", "[" name "]='" value "'", " ")
	equals = value == "" ? "" : value ~ /^=/ ? "=-" : "="
	if (group == "list")
		excluded = "*"
	else if (group == "redirect")
		excluded = "(@redirects@)"
	else
		excluded = "(--" name (alias == "" ? "" : " -" alias) ")"
	if (group == "redirect")
		append("redirects", "--" name, " ")
	zsh_option("--" name, equals, excluded, help, value)
	if (alias != "")
		zsh_option("-" alias, equals, excluded, help, value)
}

# @line with each of its places filled in.
function fill(line,	place, before)
{
	while (match(line, /@[a-z_]+@/)) {
		place = substr(line, RSTART + 1, RLENGTH - 2)
		if (!(place in filled)) {
			print "nothing is known for @" place "@" >"/dev/stderr"
			exit 1
		}
		before = substr(line, 1, RSTART - 1)
		line = before filled[place] substr(line, RSTART + RLENGTH)
	}
	return line
}

BEGIN { FS = "\t" }
FNR == NR && $1 == "operation" {
	append("operations", $2, " ")
	append("zsh_operations", $2 "\\:\"" zsh_quoted($3) "\"", " ")
}
FNR == NR && $1 == "option" { add_option($2, $3, $4, $5, $6) }
FNR != NR { print fill($0) }
