# bash completion for tap-pool. Source it, or put it under the name `tap-pool` into
# ~/.local/share/bash-completion/completions/ or /usr/share/bash-completion/completions/.

_tap_pool_links() {
  # $1: `taps` or `bridges`
  local path
  for path in /sys/class/net/*/; do
    [[ $1 == taps && ! -e ${path}tun_flags ]] && continue
    [[ $1 == bridges && ! -d ${path}bridge ]] && continue
    basename "$path"
  done
}

_tap_pool() {
  local commands='status doctor sweep create delete bench demo help'
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command='' word
  COMPREPLY=()

  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ " $commands " == *" $word "* ]] && { command=$word && break; }
  done

  case $previous in
    --netns)
      mapfile -t COMPREPLY < <(compgen -W "$(ls /run/netns 2>/dev/null)" -- "$current"; compgen -f -- "$current")
      return
      ;;
    --bridge)
      mapfile -t COMPREPLY < <(compgen -W "$(_tap_pool_links bridges)" -- "$current")
      return
      ;;
    --prefix | --owner | --mtu | --min-age) return ;;
  esac

  local options='--help --netns --json --no-color'
  case $command in
    '') options='--help --version' ;;
    status | doctor) options+=' --prefix' ;;
    sweep) options+=' --prefix --yes --min-age' ;;
    create) options+=' --bridge --owner --mtu --multi-queue --no-vnet-header --no-up --prefix' ;;
    delete) options+=' --force' ;;
    bench) options+=' --quick' ;;
    help) options='' ;;
  esac

  if [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
  elif [[ $command == '' || $command == help ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$current")
  elif [[ $command == delete ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(_tap_pool_links taps)" -- "$current")
  fi
}

complete -F _tap_pool tap-pool
