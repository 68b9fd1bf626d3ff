# The plain names of agents are those of their wrappers in /usr/local/sbin, which put them into scopes with limits.
case $PATH in
/usr/local/sbin | /usr/local/sbin:*) ;;
*) PATH=/usr/local/sbin:$PATH && export PATH ;;
esac
# Also where a home's own profile puts its programs first, as an agent's installer may have told it to.
for moltfleet_agent in /usr/local/sbin/*; do
    case $(readlink "$moltfleet_agent") in
    */contained-agent) eval "${moltfleet_agent##*/}() { $moltfleet_agent \"\$@\"; }" ;;
    esac
done
unset moltfleet_agent
