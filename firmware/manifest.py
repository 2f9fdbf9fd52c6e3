"""What a board gets, in MicroPython's own manifest format: the agent, the contract and umqtt."""

package("fieldloom_agent")  # noqa: F821 - the manifest's own word
package("fieldloom_contract", base_path="../shared")  # noqa: F821
package("umqtt", base_path="lib")  # noqa: F821
module("boot.py")  # noqa: F821
module("main.py")  # noqa: F821
