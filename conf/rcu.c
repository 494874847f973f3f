/* The one thing of rcu.h that has an address. */
#include "conf/rcu.h"

char rcu_grace;
