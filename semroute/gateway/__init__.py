"""The Gateway: each request passes four phases.

gather   facts of the moment: which models can be called, what is left of budgets
decide   the Router, on values alone; the embedding runs in a thread
act      call the models along the plan
record   what happened, whatever happened
"""

from semroute.gateway.act import caller as caller
from semroute.gateway.call import Call as Call
from semroute.gateway.call import Chunks as Chunks
from semroute.gateway.gateway import Gateway as Gateway
from semroute.gateway.serving import Serving as Serving
