from debate_plugin.cli import main

main()
